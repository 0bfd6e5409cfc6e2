"""Measure 16 ranks with 20 ms on every store call, from an existing world to a proved collective in each group.

Injected latency measures calls and round trips, not the few cores that all ranks share here.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import Any

import measure
import worlds

RANKS, LATENCY, ROUNDS = 16, 0.02, 5


def run_ours(modes: tuple[str, ...] | None) -> dict[str, float]:
    """Return when this rank began, made its first call, began to build and was done."""
    store = worlds.watched_world()
    phases = worlds.Phases.watch(store)
    began = worlds.together()
    store.reset(LATENCY)
    groups = worlds.ours(RANKS, modes)
    made = time.monotonic()
    worlds.prove(groups)
    ended = time.monotonic()
    times = {"began": began, "first call": store.first, "agreed": phases.times[0], "built": phases.times[1]}
    return {**times, "made": made, "ended": ended}


def run_peer(way: str) -> dict[str, float]:
    store = worlds.watched_world()
    began = worlds.together()
    store.reset(LATENCY)
    groups = getattr(worlds, way)(RANKS)
    worlds.prove(groups)
    return {"began": began, "ended": time.monotonic()}


def seconds(answers: list[dict[str, float]], since: str, until: str) -> float:
    """Return the seconds from when the last rank reached one point until the last rank reached another."""
    return max(answer[until] for answer in answers) - max(answer[since] for answer in answers)


def main() -> None:
    ways: dict[str, tuple[Any, dict[str, str]]] = {
        "pgregistry, 6 modes": (partial(run_ours, worlds.SIX), {}),
        "pgregistry, 8 modes (bundled)": (partial(run_ours, None), {}),
        "pgregistry, the 3 modes of the mesh": (partial(run_ours, worlds.THREE), {}),
        "loop with new_group + TORCH_DIST_INIT_BARRIER=1, 6 modes": (partial(run_peer, "loop"), worlds.BARRIER),
        "loop with new_group, 6 modes": (partial(run_peer, "loop"), {}),
        "init_device_mesh, 3 dimensions": (partial(run_peer, "mesh"), {}),
        "init_device_mesh, 5 families": (partial(run_peer, "mesh_of_five"), {}),
    }
    answers: dict[str, list[list[dict[str, float]]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (job, environ) in ways.items():
            answers[name].append(worlds.run_ranks(RANKS, job, environ=environ).answers)
    times = {name: [seconds(one, "began", "ended") for one in each] for name, each in answers.items()}
    six, _, three, barrier, plain, small, large = (median(one) for one in times.values())
    aims = {barrier: "≥ 25 ×", plain: "≥ 2.2 ×", small: "≥ 1.6 ×", large: "≥ 3.2 ×"}
    rows = []
    for name, taken in times.items():
        middle = median(taken)
        versus = [f"{middle / one:.1f} ×" for one in (six, three)] if middle in aims else ["", ""]
        rows.append((name, measure.duration(middle), measure.duration(min(taken)), *versus, aims.get(middle, "")))
    columns = (f"{RANKS} ranks, {LATENCY * 1e3:g} ms per call", "time", "fastest", "÷ 6 modes", "÷ 3 modes", "aim")
    measure.show("From an existing world to a proved collective in each group", columns, rows)

    steps = {
        "planning, until the first store call": ("began", "first call"),
        "agreement": ("first call", "agreed"),
        "creation": ("agreed", "built"),
        "confirmation": ("built", "made"),
        "proof": ("made", "ended"),
    }
    rows = []
    for step, (since, until) in steps.items():
        middle = median(seconds(one, since, until) for one in answers["pgregistry, 6 modes"])
        aim = "≤ 15 %" if step == "agreement" else ""
        rows.append((step, measure.duration(middle), f"{middle / LATENCY:.1f}", f"{middle / plain:.1%}", aim))
    columns = ("pgregistry, 6 modes", "time", "in calls of 20 ms", "÷ plain loop", "aim")
    measure.show("Where the time goes, last rank to last rank", columns, rows)


if __name__ == "__main__":
    main()
