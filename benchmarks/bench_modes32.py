"""Measure one rank's part of a plan of 32 modes at 65,536 ranks, beside listing every group as frameworks do.

Most frameworks have, on every rank, a loop over all groups of a family that keeps the group with the own rank. The peer
is that loop in its shortest form, over the same strides; it makes no process group either. `init_device_mesh` of the
same axes is shown too, on torch's fake backend: it has one family for each axis, and groups that a program could use.
"""

from __future__ import annotations

import warnings
from itertools import product
from math import prod
from typing import Any

import measure

AXES = {"data": 256, "pipe": 8, "context": 4, "tensor": 8}  # outermost first: 65,536 ranks
SIZES = {"pipe": 8, "context": 4, "tensor": 8, "expert": 16, "replica": 4, "shard": 8, "zero1": 32, "nettest": 48}
RANK = 12_345
ROUNDS = 5


def extra() -> list[Any]:
    """Declare 24 modes beside the eight bundled ones: an axis, splits of data and world, products, first and last."""
    from pgregistry import WORLD, Axis, Mode, Split

    context = Axis("context", inside=("data", "pipe"), outside="tensor")
    experts, replicas = Split("data", inner="expert"), Split("data", outer="replica")
    shards, hosts = Split("data", inner="shard"), Split(WORLD, inner="host", size=8)
    products = [
        *(("data", "context"), ("data", "tensor"), ("data", "pipe"), ("pipe", "context"), ("context", "tensor")),
        *(("data", "context", "tensor"), ("data", "pipe", "context"), ("pipe", "context", "tensor")),
        *(("data", "pipe", "tensor"), (experts, "tensor"), (experts, "pipe"), (experts, "context", "tensor")),
    ]
    ends = ("data", "pipe", "context", "tensor")
    parts = {"expert": experts, "expert_data": experts.outer, "replica": replicas.outer, "replica_data": replicas}
    parts |= {"shard": shards, "shard_data": shards.outer, "host": hosts}
    modes = [Mode("context", over=context), *(Mode(name, over=part) for name, part in parts.items())]
    modes += [Mode(f"product_{number}", over=over) for number, over in enumerate(products)]
    modes += [Mode(f"ends_of_{axis}", over=axis, at=(0, -1)) for axis in ends]
    return modes


def plan() -> Any:
    """Return the plan and this rank's group of every mode."""
    import pgregistry

    made = pgregistry.plan(prod(AXES.values()), extra=extra(), **SIZES)
    return made, [mode.group_of(RANK) for mode in made.planned]


def ours() -> dict[str, float]:
    """Return the seconds of the first call in a fresh process, and of a later one."""
    first = measure.timed(plan)
    made, _ = plan()
    return {"first": first, "later": measure.repeated(plan), "modes": len(made)}


def loops() -> dict[str, float]:
    """Return the seconds to list every group of the same modes and keep the one with this rank."""
    import pgregistry

    made = pgregistry.plan(prod(AXES.values()), extra=extra(), **SIZES)
    factors = [mode.factors() for mode in made.planned]
    return {"seconds": measure.timed(lambda: [listed(made.world_size, mode) for mode in factors])}


def listed(world: int, factors: tuple[tuple[int, int], ...]) -> list[int]:
    """Return the group of this rank, found among all groups of a mode."""
    offsets = [sum(step) for step in product(*(range(0, size * stride, stride) for size, stride in factors))]
    mine: list[int] = []
    for first in range(world):
        if all(first // stride % size == 0 for size, stride in factors):
            group = [first + offset for offset in offsets]
            if RANK in group:
                mine = group
    return mine


def mesh() -> dict[str, float]:
    """Measure torch's own in a fresh process, without the world itself."""
    warnings.simplefilter("ignore")
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=prod(AXES.values()), store=FakeStore())
    names, sizes = tuple(AXES), tuple(AXES.values())
    return {"seconds": measure.timed(lambda: init_device_mesh("cpu", sizes, mesh_dim_names=names))}


def main() -> None:
    answers: dict[str, list[dict[str, float]]] = {"ours": [], "loops": [], "mesh": []}
    for _ in range(ROUNDS):
        for part, told in answers.items():
            told.append(measure.child(__file__, part))
    first, later, modes = (
        measure.median(answer[key] for answer in answers["ours"]) for key in ("first", "later", "modes")
    )
    loop, torch = (measure.median(answer["seconds"] for answer in answers[part]) for part in ("loops", "mesh"))
    rows = [
        (name, measure.duration(seconds), f"{seconds / later:,.1f} ×")
        for name, seconds in (
            (f"pgregistry.plan() and the groups of one rank, {modes:.0f} modes", later),
            ("  the first time in a process, which imports the plugins", first),
            ("a loop over all groups of the same modes", loop),
            (f"torch init_device_mesh, {len(AXES)} axes", torch),
        )
    ]
    shape = " × ".join(f"{name} {size}" for name, size in AXES.items())
    columns = (f"{prod(AXES.values()):,} ranks = {shape}", "time", "÷ pgregistry.plan()")
    measure.show("One rank's part of a plan of 32 modes", columns, rows, "Aim: less than 50 ms.")


if __name__ == "__main__":
    measure.run(main, {part.__name__: part for part in (ours, loops, mesh)})
