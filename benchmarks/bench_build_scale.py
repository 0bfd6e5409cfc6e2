"""Count the connections, descriptors, memory and store traffic of a rank, mode by mode, from 16 to 256 real ranks.

    python benchmarks/bench_build_scale.py [WORLD …]

All ranks are on this machine, with gloo. Each mode is built alone in a world that is there, proved and closed again;
then all modes together, which share process groups of equal members.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import measure
import worlds
from bench_agreement_scale import allow_descriptors, links

WORLDS = (16, 32, 64, 128, 256)
#: Sizes of worlds to which the fits are extended.
BEYOND = (1024, 10_000, 100_000)
WORLD, ALL = "the world alone", "all modes"
#: Seconds for all ranks of a world.
LONGEST = 240
#: Worlds from this size on are fitted: smaller ones lack some of the groups, and up to 64 ranks gloo's addresses are
#: long. Memory is uneven, so all are.
SETTLED = 64
FITTED = {"sent": 65, "received": 65, "private": 0}
#: The modes that are also built alone; the world itself is there, and a group of one rank has no connections.
ALONE = ("data", "pipe", "tensor", "model", "zero1")
#: What is counted of a rank, and how a number of it is shown.
COUNTED = {
    "gloo": "gloo connections",
    "store": "connections to the store",
    "descriptors": "descriptors",
    "threads": "threads",
    "private": "memory, MiB",
    "sent": "bytes sent to the store",
    "received": "bytes read from the store",
}

#: By world, by what was built, by what is counted: the number of the rank that has most.
Counts = dict[int, dict[str, dict[str, float]]]


def modes() -> list[Any]:
    """Return the bundled modes, as `plan_modes` takes them."""
    from pgregistry import FULL, REST, WORLD, Axis, Mode, Split

    return [
        Mode("global", over=WORLD),
        Mode("data", over=Axis("data", size=REST, outside=("pipe", "tensor"))),
        Mode("pipe", over=Axis("pipe", outside="tensor")),
        Mode("tensor", over=Axis("tensor")),
        Mode("model", over=("pipe", "tensor")),
        Mode("zero1", over=Split("data", inner="zero1", size=FULL)),
        Mode("dummy", over=()),
    ]


def built(world: int) -> dict[str, dict[str, float]]:
    """Return what this rank has more, after the start of the world and with each mode."""
    import torch.distributed as dist

    import pgregistry
    from pgregistry.diagnosis.watch.watch import CONNECT

    def plan(*keep: str) -> Any:
        return pgregistry.plan_modes(world, modes(), keep=keep or None, tensor=4, pipe=2, zero1=max(world // 16, 1))

    allow_descriptors()
    found, before = {}, usage(0)
    here = pgregistry.init(plan=plan("dummy"), watch=300)
    here.verify()
    time.sleep(CONNECT + 1)  # the watch connects at a random moment until then
    store: Any = dist.group.WORLD.get_group_store()  # type: ignore[union-attr]
    while hasattr(store, "underlying_store"):
        store = store.underlying_store
    found[WORLD] = more(before, usage(store.port))
    for name in (*ALONE, ALL):
        dist.barrier()
        before = usage(store.port)
        with pgregistry.init(plan=plan(*[name] * (name != ALL)), watch=0) as context:
            context.verify()
            found[name] = more(before, usage(store.port))
            found[name]["groups"] = len({id(handle.group) for handle in context.values()} - {id(dist.group.WORLD)})
        dist.barrier()
    here.close()
    return found


def usage(port: int) -> dict[str, float]:
    """Return what this process has; connections are to the store, at its port, or else those of gloo."""
    there = [link for link in links().values() if link.remote == port]
    return {
        "gloo": sum(port not in (link.local, link.remote) for link in links().values()),
        "store": len(there),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "private": worlds.private_mib(),
        "sent": sum(link.sent for link in there),
        "received": sum(link.received for link in there),
    }


def more(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after}


def counts(sizes: Sequence[int]) -> Counts:
    """Return the counts of worlds of these sizes, without those that this machine is too slow for."""
    from pgregistry.testing import LocalRanks, RanksFailed

    found: Counts = {}
    for world in sizes:
        begun = time.monotonic()
        try:
            with LocalRanks() as ranks, redirect_stdout(StringIO()):  # what ranks log while they wait for rank 0
                answers = ranks.run(world, built, world, world=False, timeout=LONGEST)
        except RanksFailed as error:
            print(f"{world} ranks were not measured: {error}"[:1000], file=sys.stderr)
            continue
        found[world] = {
            what: {name: max(one[what][name] for one in answers[1:]) for name in answers[1][what]}
            for what in answers[0]
        }
        # The rank that hosts the store has the other end of all its connections.
        found[world][WORLD]["descriptors of rank 0"] = answers[0][WORLD]["descriptors"]
        found[world][WORLD]["memory of rank 0"] = answers[0][WORLD]["private"]
        print(f"{world} ranks: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


def fit(values: Mapping[int, float]) -> tuple[float, float, float]:
    """Return a line through numbers by world size, and how far the furthest is from it; for one, that through zero.

    >>> fit({16: 20.0, 32: 36.0, 64: 68.0})
    (4.0, 1.0, 0.0)
    """
    sizes, numbers = list(values), list(values.values())
    if len(sizes) == 1:
        return 0.0, numbers[0] / sizes[0], 0.0
    middle, mean = sum(sizes) / len(sizes), sum(numbers) / len(numbers)
    over = sum((size - middle) * (number - mean) for size, number in values.items())
    slope = over / sum((size - middle) ** 2 for size in sizes)
    base = mean - slope * middle
    return base, slope, max(abs(number - base - slope * size) for size, number in values.items())


def shown(number: float) -> str:
    return f"{number:,.1f}" if abs(number) < 10 and number != round(number) else f"{number:,.0f}"


def rows_of_modes(found: Counts) -> list[tuple[str, ...]]:
    """Return the gloo connections of each mode, with its process groups."""
    largest = found[max(found)]
    return [
        (what, *(shown(found[world][what]["gloo"]) for world in found), f"{largest[what].get('groups', 1):.0f}")
        for what in largest
    ]


def rows_of_fits(found: Counts, what: str) -> list[tuple[str, ...]]:
    """Return each number of a rank with its fit, and where that leads."""
    rows = []
    names = {**COUNTED, "descriptors of rank 0": "descriptors of rank 0"} if what == WORLD else COUNTED
    for name, words in names.items():
        values = {world: one[what][name] for world, one in found.items()}
        fitted = {world: number for world, number in values.items() if world >= FITTED.get(name, SETTLED)}
        base, slope, off = fit(fitted if len(fitted) > 1 or name in FITTED else values)
        line = f"{shown(base)} + {slope:.3g} × N, ± {shown(off)}"
        beyond = (shown(base + slope * size) for size in BEYOND)
        rows.append((words, *map(shown, values.values()), line, *beyond))
    return rows


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or WORLDS
    begun, load = time.monotonic(), os.getloadavg()[0]
    found = counts(sizes)
    heads = tuple(f"{size:,}" for size in found)
    measure.show("gloo connections of a rank, mode by mode", ("ranks", *heads, "groups"), rows_of_modes(found))
    beyond = tuple(f"{size:,}?" for size in BEYOND)
    for what in (WORLD, ALL):
        notes = (
            "Columns with ? follow from the fit and were not measured.",
            f"Load {load:.1f} before; {time.monotonic() - begun:.0f} s.",
        )
        measure.show(f"A rank: {what}", ("ranks", *heads, "fit", *beyond), rows_of_fits(found, what), *notes)


if __name__ == "__main__":
    main()
