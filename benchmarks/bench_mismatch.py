"""Measure how soon every rank raises if the plans differ, counted from when the last rank calls `init`.

The odd rank comes last, a second after all others, with another size. The peer is what torch
does with the same mistake; it is given a timeout of three seconds in place of its 30 minutes.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

import measure
import worlds

WORLDS = {4: 0.1, 32: 0.3}  # the aims in seconds
ROUNDS = 7
LATE, TIMEOUT = 1.0, 3.0
NEVER = 1e9
KINDS: dict[str, dict[str, Any]] = {
    "size (tensor=4)": {"tensor": 4},
    "plugin disabled": {"disable": ["nettest"]},
    "timeout of the run": {"timeout": 60},
}


def refused(odd: int, kind: str) -> dict[str, float]:
    """Return when this rank called `init`, and when it was refused."""
    import pgregistry

    mine = int(os.environ["RANK"]) == odd
    if mine:
        time.sleep(LATE)
    called = time.monotonic()
    try:
        pgregistry.init(**{"tensor": 2, **(KINDS[kind] if mine else {})})
    except pgregistry.PlanMismatch as error:
        return {"called": called, "refused": time.monotonic(), "named": float(f"rank {odd}:" in str(error))}
    raise SystemExit("all agreed")


def looped(odd: int) -> dict[str, float]:
    """Make the same mistake with new_group; return when this rank had an error or, without one, proved its groups."""
    import torch.distributed as dist

    timeout = timedelta(seconds=TIMEOUT)
    dist.init_process_group("gloo", timeout=timeout)
    rank, size = dist.get_rank(), dist.get_world_size()
    tensor = 4 if rank == odd else 2
    if rank == odd:
        time.sleep(LATE)
    called = time.monotonic()
    try:
        groups = [dist.new_group(range(low, low + tensor), timeout=timeout) for low in range(0, size, tensor)]
        worlds.prove(group for group in groups if isinstance(group, dist.ProcessGroup))
    except (RuntimeError, SystemExit):
        return {"called": called, "refused": time.monotonic()}
    return {"called": called, "refused": NEVER}


def main() -> None:
    rows = []
    for world, aim in WORLDS.items():
        cases = [(kind, odd, {}) for kind in KINDS for odd in (world - 1, 0)]
        cases.append((next(iter(KINDS)), 0, {"TORCHELASTIC_USE_AGENT_STORE": "False"}))
        answers: list[list[list[dict[str, float]]]] = [[] for _ in cases]
        for _ in range(ROUNDS):
            for (kind, odd, environ), each in zip(cases, answers, strict=True):
                port = {"MASTER_PORT": free_port()} if environ else {}
                each.append(worlds.run_ranks(world, partial(refused, odd, kind), environ={**environ, **port}).answers)
        for (kind, odd, environ), each in zip(cases, answers, strict=True):
            first, last = ([after(one, pick) for one in each] for pick in (min, max))
            named = all(answer["named"] for one in each for answer in one)
            what = f"{world} ranks, {kind}, rank {odd} is odd and last" + ", and hosts the store" * bool(environ)
            times = (measure.duration(median(one)) for one in (first, last))
            rows.append((what, *times, measure.duration(max(last)), f"≤ {aim * 1e3:g} ms", "yes" if named else "NO"))
        if world == 4:
            one = worlds.run_ranks(world, partial(looped, world - 1)).answers
            told = [answer for answer in one if answer["refused"] < NEVER]
            first, last = (measure.duration(after(told, pick)) if told else "never" for pick in (min, max))
            what = f"{world} ranks, new_group with tensor=4 on rank {world - 1}, timeout {TIMEOUT:g} s"
            rows.append((what, first, last, "one run", f"{len(told)} of {world} ranks had an error", "no"))
    columns = ("since the last rank called init", "first rank", "every rank", "slowest run", "aim", "odd rank named")
    measure.show("Until PlanMismatch", columns, rows, "The aim is for every rank.")


def after(answers: list[dict[str, float]], pick: Any) -> float:
    """Return the seconds from the last call until the first or the last rank was refused."""
    return pick(answer["refused"] for answer in answers) - max(answer["called"] for answer in answers)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


if __name__ == "__main__":
    main()
