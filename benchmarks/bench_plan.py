"""Measure planning a million ranks, beside torch's own device mesh of the same shape.

The peer is `init_device_mesh` on torch's fake backend. It does more than a plan does: it registers
process groups that a program could use. It does less, too: three families of groups, not eight.
"""

from __future__ import annotations

import resource
import sys
import time
import tracemalloc
import warnings
from functools import partial
from statistics import median
from typing import Any

import measure

LARGE, SMALL = (8192, 16, 8), (128, 16, 8)  # data × pipe × tensor
RANK = 12_345
ROUNDS = 5
PEER_SECONDS, PEER_BYTES = 300, 12 << 30


def ranks(shape: tuple[int, int, int]) -> int:
    data, pipe, tensor = shape
    return data * pipe * tensor


def groups(plan: Any, *, world: bool) -> int:
    """Read one rank's group of every mode, with or without those that are the whole world."""
    modes = [mode for mode in plan.planned if world or max(mode.groups.sizes()) < plan.world_size]
    return sum(len(mode.group_of(RANK % plan.world_size)) for mode in modes)


def ours(shape: tuple[int, int, int]) -> dict[str, float]:
    """Return the seconds of each step: once in this fresh process, then the median of many."""
    import pgregistry
    from pgregistry.planning.planner import Planner
    from pgregistry.registry.manager import discover

    _, pipe, tensor = shape
    found = discover()

    def planning() -> Any:
        return Planner.read(ranks(shape), {"pipe": pipe, "tensor": tensor}, installed=found).plan()

    first = measure.timed(planning)  # imports the plugins
    plan = planning()
    return {
        "first": first,
        "planning": measure.repeated(planning),
        "call": measure.repeated(lambda: pgregistry.plan(ranks(shape), pipe=pipe, tensor=tensor)),
        "groups": measure.repeated(lambda: groups(plan, world=False)),
        "all groups": measure.repeated(lambda: groups(plan, world=True)),
    }


def whole_call(shape: tuple[int, int, int], world: bool) -> dict[str, float]:
    """Measure, in a fresh process, the first `pgregistry.plan()`, discovery included, and one rank's groups."""
    import pgregistry

    _, pipe, tensor = shape
    begun = time.perf_counter()
    plan = pgregistry.plan(ranks(shape), pipe=pipe, tensor=tensor)
    groups(plan, world=world)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "rss": measure.peak_rss(), "torch": float("torch" in sys.modules)}


def traced(shape: tuple[int, int, int], world: bool) -> float:
    """Return the most memory that Python allocates during a call, in MiB; slow, so never in a timed run."""
    import pgregistry

    _, pipe, tensor = shape
    tracemalloc.start()
    groups(pgregistry.plan(ranks(shape), pipe=pipe, tensor=tensor), world=world)
    return tracemalloc.get_traced_memory()[1] / (1 << 20)


def mesh(shape: tuple[int, int, int]) -> dict[str, float]:
    """Measure the peer in a fresh process, without the world itself."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (PEER_BYTES, PEER_BYTES))
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    before = measure.peak_rss()
    dist.init_process_group("fake", rank=0, world_size=ranks(shape), store=FakeStore())
    names = ("data", "pipe", "tensor")
    seconds = measure.timed(lambda: init_device_mesh("cpu", tuple(shape), mesh_dim_names=names))
    return {"seconds": seconds, "rss": measure.peak_rss(), "before": before}


def by_mode(shape: tuple[int, int, int]) -> dict[str, tuple[int, float, float]]:
    """Return by mode one group's size, its seconds, and those of a bare tuple of as many numbers."""
    import pgregistry

    _, pipe, tensor = shape
    plan = pgregistry.plan(ranks(shape), pipe=pipe, tensor=tensor)
    result = {}
    for mode in plan.planned:
        group = mode.group_of(RANK) or ()
        numbers = range(group[0], group[-1] + 1, group[1] - group[0] if len(group) > 1 else 1)
        seconds = measure.repeated(partial(mode.group_of, RANK))
        result[mode.name] = len(group), seconds, measure.repeated(partial(tuple, numbers))
    return result


def peer_shape() -> tuple[int, int, int]:
    """Return the largest shape that the peer can make here."""
    for data in (LARGE[0], LARGE[0] // 4, LARGE[0] // 16):
        shape = (data, *LARGE[1:])
        if measure.child(__file__, "mesh", shape, seconds=PEER_SECONDS):
            return shape
    raise SystemExit("init_device_mesh fails at every size tried")


def medians(answers: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(answer[key] for answer in answers) for key in answers[0]}


def show_million(shape: tuple[int, int, int]) -> None:
    answers: dict[str, list[dict[str, float]]] = {"mesh": [], "ours": [], "plan": [], "plan, world": []}
    for _ in range(ROUNDS):
        answers["ours"].append(measure.child(__file__, "ours", LARGE))
        answers["plan"].append(measure.child(__file__, "whole_call", LARGE, False))
        answers["plan, world"].append(measure.child(__file__, "whole_call", LARGE, True))
        answers["mesh"].append(measure.child(__file__, "mesh", shape))
    peer, steps = medians(answers["mesh"]), medians(answers["ours"])
    plan, world = medians(answers["plan"]), medians(answers["plan, world"])
    traces = {flag: median(measure.child(__file__, "traced", LARGE, flag) for _ in range(3)) for flag in (False, True)}

    def row(name: str, seconds: float, memory: str = "", traced: str = "") -> tuple[str, ...]:
        return name, measure.duration(seconds), f"{peer['seconds'] / seconds:,.0f} ×", memory, traced

    rows = [
        (
            f"torch init_device_mesh, {ranks(shape):,} ranks",
            measure.duration(peer["seconds"]),
            "1 ×",
            f"{measure.mib(peer['rss'])} (torch alone {measure.mib(peer['before'])})",
            "",
        ),
        row("planning and fingerprint, plugins already found", steps["planning"]),
        row("  + one rank's groups, all modes but global", steps["planning"] + steps["groups"]),
        row("  + one rank's groups, all modes", steps["planning"] + steps["all groups"]),
        row("pgregistry.plan(), which finds the plugins too", steps["call"]),
        row("  + one rank's groups, all modes but global", steps["call"] + steps["groups"]),
        row("  + one rank's groups, all modes", steps["call"] + steps["all groups"]),
        row("first planning in a process: imports the plugins", steps["first"]),
        row(
            "first pgregistry.plan() + groups but global",
            plan["seconds"],
            measure.mib(plan["rss"]),
            measure.mib(traces[False]),
        ),
        row(
            "first pgregistry.plan() + all groups",
            world["seconds"],
            measure.mib(world["rss"]),
            measure.mib(traces[True]),
        ),
    ]
    imported = "was imported" if plan["torch"] or world["torch"] else "was not imported"
    notes = [
        f"Aims: 1000 × the mesh, 10 ms, 100 MiB, without torch. Here torch {imported}.",
        "The one group of global is the world: a tuple of a million numbers, so it has lines of its own.",
    ]
    if shape != LARGE:
        notes.append(
            f"The mesh was NOT measured at {ranks(LARGE):,} ranks: it took more than {PEER_SECONDS} s or "
            f"{PEER_BYTES >> 30} GiB. Its time is that of {ranks(shape):,}, so the ratios compare unequal worlds."
        )
    columns = ("1,048,576 ranks = 8192 × 16 × 8", "time", "mesh ÷ this", "peak RSS", "traced peak")
    measure.show("Planning a million ranks", columns, rows, *notes)


def show_growth(peer: tuple[int, int, int]) -> None:
    rounds = [(measure.child(__file__, "by_mode", SMALL), measure.child(__file__, "by_mode", LARGE)) for _ in range(3)]
    rows = []
    for mode in rounds[0][0]:
        few, many = (tuple(median(pair[side][mode][i] for pair in rounds) for i in range(3)) for side in (0, 1))
        rows.append(
            (
                mode,
                f"{few[0]:,.0f} → {many[0]:,.0f}",
                f"{many[0] / few[0]:.0f} ×",
                f"{measure.duration(few[1])} → {measure.duration(many[1])}",
                f"{many[1] / few[1]:.2f} ×",
                f"{many[2] / few[2]:.2f} ×",
            )
        )
    both: dict[str, list[list[dict[str, float]]]] = {"planning and fingerprint": [], "torch init_device_mesh": []}
    for _ in range(3):
        both["planning and fingerprint"].append([measure.child(__file__, "ours", shape) for shape in (SMALL, LARGE)])
        both["torch init_device_mesh"].append([measure.child(__file__, "mesh", shape) for shape in (SMALL, peer)])
    for name, answers in both.items():
        key = "seconds" if "seconds" in answers[0][0] else "planning"
        low, high = (median(pair[side][key] for pair in answers) for side in (0, 1))
        label = name if key == "planning" else f"{name}, to {ranks(peer):,} ranks"
        rows.append((label, "", "", f"{measure.duration(low)} → {measure.duration(high)}", f"{high / low:.2f} ×", ""))
    columns = ("one rank's group, by mode", "group size", "it grows", "time", "it grows", "a bare tuple grows")
    measure.show(
        "From 16,384 to 1,048,576 ranks (64 ×)",
        columns,
        rows,
        "Aim: the time of a group grows at most as its size. A bare tuple is tuple(range(…)) of as many numbers.",
    )


def main() -> None:
    shape = peer_shape()
    show_million(shape)
    show_growth(shape)


if __name__ == "__main__":
    measure.run(main, {part.__name__: part for part in (ours, whole_call, traced, mesh, by_mode)})
