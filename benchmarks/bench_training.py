"""Measure the set-up of the layouts of examples/gpt: process groups, and time to a proved collective in each."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import measure
import worlds

ROUNDS = 5
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


def ours(row: str) -> list[Any]:
    """Return the process groups of all modes of the script."""
    pgregistry = importlib.import_module("pgregistry")
    context = pgregistry.init(plugins=["pgregistry_gpt"], disable=["nettest"], backend="gloo", **ROWS[row][1])
    return [handle.group for handle in context.values()]


def mesh(row: str) -> list[Any]:
    """Return the process groups of a mesh of torch, and the world, for the losses."""
    from torch.distributed.device_mesh import init_device_mesh

    worlds.dist.init_process_group("gloo")
    shape = ROWS[row][2]
    made = init_device_mesh("cpu", tuple(shape.values()), mesh_dim_names=tuple(shape))
    return [*made.get_all_groups(), worlds.dist.group.WORLD]


def torchtitan(row: str) -> list[Any]:
    """Return the process groups of torchtitan's meshes."""
    theirs = sys.modules[TORCHTITAN]
    theirs.device_type = "cpu"
    worlds.dist.init_process_group("gloo")
    degrees = {**dict.fromkeys(("dp_replicate", "dp_shard", "cp", "tp", "pp", "ep"), 1), **DEGREES[row]}
    dims = theirs.ParallelDims(**degrees, world_size=ROWS[row][0], spmd_backend="partial_dtensor")
    dims.build_mesh()
    return [made.get_group() for made in dims.get_all_one_dimensional_meshes().values()]


def whole(way: str, row: str) -> dict[str, float]:
    """Return when this rank had imported all, when it was ready for its first step, and its process groups."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "gpt"))
    if way == "torchtitan":
        importlib.import_module("torch.testing._internal.distributed.fake_pg")  # a backend of its meshes
        importlib.import_module(TORCHTITAN)
    begun = time.monotonic()
    groups = globals()[way](row)
    worlds.prove([group for group in groups if worlds.dist.get_backend(group) != "fake"])
    made = worlds.dist.distributed_c10d._world.pg_map.values()
    return {"begun": begun, "ended": time.monotonic(), "made": sum("fake" not in backend for backend, _ in made)}


def run_rows(peers: list[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return by layout, for each way, the median seconds to the last rank's first step and the groups of a rank."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {row: {} for row in ROWS}
    for _ in range(ROUNDS):
        for row in ROWS:
            for way in ("ours", "mesh", *(peer for peer in peers if row in DEGREES)):
                ran = worlds.run_ranks(ROWS[row][0], partial(whole, way, row))
                begun, ended, made = (max(one[key] for one in ran.answers) for key in ("begun", "ended", "made"))
                found[row].setdefault(way, []).append((ended - begun, made))
    return {
        row: {way: (median(one for one, _ in each), each[0][1]) for way, each in ways.items()}
        for row, ways in found.items()
    }


def main() -> None:
    peers = ["torchtitan"] if importlib.util.find_spec("torchtitan") else []
    found = measure.child(__file__, "run_rows", peers)
    rows = [(row, *(text for way in ("ours", "mesh", *peers) for text in shown(found[row].get(way)))) for row in ROWS]
    columns = ["layout", "pgregistry", "groups", "init_device_mesh", "groups"]
    measure.show(
        "From imports that are done on all ranks to a proved collective in each process group",
        (*columns, *["torchtitan", "groups"] * len(peers)),
        rows,
        "Groups are the process groups of one rank, with the world and without fakes. pgregistry has all modes of the",
        "script, 13 families; the mesh has its dimensions alone.",
    )


def shown(result: tuple[float, float] | None) -> tuple[str, str]:
    """Return the cells of a way."""
    return ("", "") if result is None else (measure.duration(result[0]), f"{result[1]:.0f}")


if __name__ == "__main__":
    measure.run(main, {"run_rows": run_rows})
