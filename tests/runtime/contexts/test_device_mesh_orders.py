"""Every order of dimensions of a device mesh, compared to the DeviceMesh that torch makes of the same ranks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product
from math import prod
from typing import Any

import needs
import pytest
from ranks import alive, run_ranks

import pgregistry
from pgregistry import REST, Axis, ConfigError, Mode
from pgregistry.runtime.contexts.device_mesh import sliced

AXES = ("a", "b", "c", "d")
#: Four axes, outermost first, inside of one that takes what they leave.
NESTED = (
    Mode("rest", over=Axis("rest", size=REST)),
    *(Mode(axis, over=Axis(axis, inside=("rest", *AXES[:index]))) for index, axis in enumerate(AXES)),
)
#: Sizes 1 and 2 that fit 8 ranks.
SIZES = [sizes for sizes in product((1, 2), repeat=4) if prod(sizes) <= 8]
#: The backend of each dimension of torch's meshes: thousands of process groups that need no connections.
DISCONNECTED = (("fake", None),) * (1 + len(AXES))


def orders() -> Iterator[tuple[str, ...]]:
    """Generate every order of every subset of the axes."""
    for count in range(1, 5):
        yield from permutations(AXES, count)


def seen(mesh: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return all of a mesh that a training script sees on this rank: places, groups, and what lies on it."""
    import torch
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor

    numbers = torch.arange(16 * 3).view(16, 3)
    placed = distribute_tensor(numbers, mesh, [Shard(0)] * mesh.ndim, src_data_rank=None)
    answer = {
        "names": mesh.mesh_dim_names,
        "shape": tuple(mesh.shape),
        "ranks": mesh.mesh.tolist(),
        "coordinate": tuple(mesh.get_coordinate()),
        "groups": [dist.get_process_group_ranks(mesh.get_group(name)) for name in names],
        "groups of slices": [dist.get_process_group_ranks(mesh[name].get_group()) for name in names],
        "local ranks": [mesh.get_local_rank(name) for name in names],
        "local tensor": placed.to_local().tolist(),
    }
    if mesh.ndim <= 2:  # FSDP takes one dimension, or that of copies and that of shards
        with torch.random.fork_rng():
            torch.manual_seed(0)
            linear = torch.nn.Linear(4, 16)
        fully_shard(linear, mesh=mesh)
        answer["placements"] = str(linear.weight.placements)
        answer["local weight"] = linear.weight.to_local().tolist()
    return answer


def gathered(mesh: Any, fsdp: str, tp: str) -> bool:
    """Return True if a weight that is sharded over two dimensions comes back whole."""
    import torch
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    torch.manual_seed(0)
    linear = torch.nn.Linear(4, 16)
    whole = linear.weight.detach().clone()
    parallelize_module(linear, mesh[tp], ColwiseParallel(), src_data_rank=None)
    fully_shard(linear, mesh=mesh[fsdp])
    return bool(torch.equal(linear.weight.full_tensor(), whole))


def differences(all_sizes: list[tuple[int, ...]]) -> list[Any]:
    import logging

    import torch
    import torch.distributed as dist
    import torch.testing._internal.distributed.fake_pg  # it registers the backend
    from torch.distributed.device_mesh import DeviceMesh

    torch.set_num_threads(1)
    logging.getLogger("torch.distributed.tensor").setLevel(logging.ERROR)  # it regrets each sum that it does twice
    world = dist.get_world_size()
    wrong: list[Any] = []
    for sizes in all_sizes:
        nesting = torch.arange(world).reshape(-1, *sizes)
        with pgregistry.init(
            only=[], extra=NESTED, order=["rest", *AXES], **dict(zip(AXES, sizes, strict=True))
        ) as context:
            before = alive()
            ours: dict[Any, Any] = {}
            for names in orders():
                mesh = context.device_mesh(*names)
                ours[names] = seen(mesh, names)
                if len(names) == 2 and not gathered(mesh, *names):
                    wrong.append(("full_tensor", sizes, names))
            if alive() != before:
                wrong.append(("process groups", sizes, alive() - before))
            for order in permutations(AXES):
                place = [0, *(1 + AXES.index(name) for name in order)]
                theirs = DeviceMesh(
                    "cpu", nesting.permute(place), mesh_dim_names=("rest", *order), backend_override=DISCONNECTED
                )
                for count in range(1, 5):
                    # torch slices a mesh in the order of its dimensions, so the last ones are a slice in this order
                    names = order[4 - count :]
                    if names in ours and seen(theirs[names], names) != ours.pop(names):
                        wrong.append((sizes, names))
                for group in {*theirs.get_all_groups()} - {dist.group.WORLD}:
                    dist.destroy_process_group(group)
                theirs._pg_registry.clear()  # DTensor keeps the mesh, and each process group has threads
            if ours:
                wrong.append(("not compared", sizes, list(ours)))
    return wrong


@needs.MESHES
def test_every_order_is_the_mesh_that_torch_makes() -> None:
    assert run_ranks(4, differences, [(2, 1, 2, 1)]) == [[]] * 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_order_at_every_size_is_the_mesh_that_torch_makes() -> None:
    assert len(SIZES) == 15
    assert run_ranks(8, differences, SIZES, timeout=850) == [[]] * 8


def test_an_order_in_which_torch_does_not_slice_is_refused_by_name() -> None:
    class Root:
        """As of torch 2.9."""

        mesh_dim_names = ("data", "tensor")

        def __getitem__(self, names: tuple[str, ...]) -> Any:
            raise KeyError("Mesh dim indices should be in ascending order.")

    with pytest.raises(ConfigError) as raised:
        sliced(Root(), ("tensor", "data"))  # type: ignore[arg-type]
    assert str(raised.value) == (
        "device_mesh() names tensor and data, in another order than the root mesh has them, data and tensor. This "
        "torch only slices in that order. Name them in it, or use torch 2.13 or later."
    )
