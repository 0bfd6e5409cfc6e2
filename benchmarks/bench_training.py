"""Measure the layouts of examples/gpt: process groups, time to a proved collective, and to a first step."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import measure
import worlds

ROUNDS = 3
#: What the first step needs, imported before the ranks are forked; the compiler too, which a first DTensor imports.
STEP = ("torch.distributed.fsdp", "torch.distributed.tensor.parallel", "torch._dynamo")
TORCHTITAN = "torchtitan.distributed.parallel_dims"
#: Each layout of examples/gpt/README.md: ranks, our sizes, and the dimensions of a mesh with the same groups.
ROWS: dict[str, tuple[int, dict[str, int], dict[str, int]]] = {
    "data 4": (4, {}, {"data": 4}),
    "tensor 2 × data 2": (4, {"tensor": 2}, {"data": 2, "tensor": 2}),
    "pipe 2 × data 2": (4, {"pipe": 2}, {"data": 2, "pipe": 2}),
    "pipe 2 × tensor 2 × data 2": (8, {"pipe": 2, "tensor": 2}, {"data": 2, "pipe": 2, "tensor": 2}),
    "replicate 2 × shard 2 × tensor 2": (8, {"shard": 2, "tensor": 2}, {"replicate": 2, "shard": 2, "tensor": 2}),
    "zero1 2 of data 4": (4, {"shard": 1, "zero1": 2}, {"copies": 2, "zero1": 2}),
    "context 2 × data 2": (4, {"context": 2}, {"data": 2, "context": 2}),
    "expert 2 of data 4": (4, {"expert": 2}, {"copies": 2, "expert": 2}),
}
#: The degrees by which torchtitan has the same layouts; it has no ZeRO-1.
DEGREES = {
    "data 4": {"dp_shard": 4},
    "tensor 2 × data 2": {"dp_shard": 2, "tp": 2},
    "pipe 2 × data 2": {"dp_shard": 2, "pp": 2},
    "pipe 2 × tensor 2 × data 2": {"dp_shard": 2, "pp": 2, "tp": 2},
    "replicate 2 × shard 2 × tensor 2": {"dp_replicate": 2, "dp_shard": 2, "tp": 2},
    "context 2 × data 2": {"dp_shard": 2, "cp": 2},
    "expert 2 of data 4": {"dp_shard": 4, "ep": 2},
}


class Ready(NamedTuple):
    """The process groups of a way, and of its meshes what the first step uses."""

    groups: list[Any]
    data: Any
    tensor: Any


def ours(row: str) -> Ready:
    """Return the process groups of all modes of the script."""
    pgregistry = importlib.import_module("pgregistry")
    context = pgregistry.init(plugins=["pgregistry_gpt"], disable=["nettest"], backend="gloo", **ROWS[row][1])
    names = ("replicate", "fsdp") if "replicate" in ROWS[row][2] else ("tokens",)
    made = context.device_mesh(*names, "tensor")
    groups = [handle.group for handle in context.values()]
    return Ready(groups, made[names], made["tensor"] if "tensor" in ROWS[row][2] else None)


def mesh(row: str) -> Ready:
    """Return the process groups of a mesh of torch, and the world, for the losses."""
    from torch.distributed.device_mesh import init_device_mesh

    worlds.dist.init_process_group("gloo")
    shape = ROWS[row][2]
    made = init_device_mesh("cpu", tuple(shape.values()), mesh_dim_names=tuple(shape))
    groups = [*made.get_all_groups(), worlds.dist.group.WORLD]
    if "replicate" in shape:
        data = made["replicate", "shard"]
    else:
        data = made["data"] if {*shape} <= {"data", "pipe", "tensor"} else made._flatten("tokens")
    return Ready(groups, data, made["tensor"] if "tensor" in shape else None)


def torchtitan(row: str) -> Ready:
    """Return the process groups of torchtitan's meshes."""
    theirs = sys.modules[TORCHTITAN]
    theirs.device_type = "cpu"
    worlds.dist.init_process_group("gloo")
    degrees = {**dict.fromkeys(("dp_replicate", "dp_shard", "cp", "tp", "pp", "ep"), 1), **DEGREES[row]}
    dims = theirs.ParallelDims(**degrees, world_size=ROWS[row][0], spmd_backend="partial_dtensor")
    dims.build_mesh()
    groups = [made.get_group() for made in dims.get_all_one_dimensional_meshes().values()]
    data = dims.get_mesh(["dp_replicate", "fsdp"] if "dp_replicate" in DEGREES[row] else "fsdp")
    return Ready(groups, data, dims.get_optional_mesh("tp"))


def first_step(data: Any, tensor: Any) -> None:
    """Train one step of two layers: FSDP2 over the ranks of data, and tensor parallel if the layout has it."""
    from torch import nn, ones, optim
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    if tensor is not None:
        parallelize_module(model, tensor, {"0": ColwiseParallel(), "1": RowwiseParallel()})
    fully_shard(model, mesh=data)
    optimizer = optim.AdamW(model.parameters(), foreach=False)
    model(ones(8, 64)).sum().backward()
    optimizer.step()


def whole(way: str, row: str) -> dict[str, float]:
    """Return when this rank began, had proved its process groups, and was done with a step; and how many it has."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "gpt"))
    if way == "torchtitan":
        importlib.import_module("torch.testing._internal.distributed.fake_pg")  # a backend of its meshes
        importlib.import_module(TORCHTITAN)
    begun = time.monotonic()
    ready: Ready = globals()[way](row)
    worlds.prove([group for group in ready.groups if worlds.dist.get_backend(group) != "fake"])
    proved = time.monotonic()
    made = sum("fake" not in backend for backend, _ in worlds.dist.distributed_c10d._world.pg_map.values())
    first_step(ready.data, ready.tensor)
    return {"begun": begun, "proved": proved, "stepped": time.monotonic(), "made": made}


def run_rows(peers: list[str]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return by layout, for each way, the median seconds to proved groups and to a step, and the groups of a rank."""
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {row: {} for row in ROWS}
    for _ in range(ROUNDS):
        for row in ROWS:
            for way in ("ours", "mesh", *(peer for peer in peers if row in DEGREES)):
                ran = worlds.run_ranks(ROWS[row][0], partial(whole, way, row), imported=STEP)
                keys = ("begun", "proved", "stepped", "made")
                begun, proved, stepped, made = (max(one[key] for one in ran.answers) for key in keys)
                found[row].setdefault(way, []).append((proved - begun, stepped - begun, made))
    return {
        row: {
            way: (median(one[0] for one in each), median(one[1] for one in each), each[0][2])
            for way, each in ways.items()
        }
        for row, ways in found.items()
    }


def main() -> None:
    peers = ["torchtitan"] if importlib.util.find_spec("torchtitan") else []
    found = measure.child(__file__, "run_rows", peers)
    rows = [(row, *(text for way in ("ours", "mesh", *peers) for text in shown(found[row].get(way)))) for row in ROWS]
    columns = [text for way in ("pgregistry", "init_device_mesh", *peers) for text in (way, "first step", "groups")]
    measure.show(
        "From imports that are done on all ranks to a proved collective in each process group, and to the first step",
        ("layout", *columns),
        rows,
        "Groups are the process groups of one rank, with the world and without fakes. pgregistry has all modes of the",
        "script, 13 families; the mesh has its dimensions alone. The step is of two layers, with FSDP2 and, if the",
        "layout has it, tensor parallel.",
    )


def shown(result: tuple[float, float, float] | None) -> tuple[str, str, str]:
    """Return the cells of a way."""
    if result is None:
        return "", "", ""
    return measure.duration(result[0]), measure.duration(result[1]), f"{result[2]:.0f}"


if __name__ == "__main__":
    measure.run(main, {"run_rows": run_rows})
