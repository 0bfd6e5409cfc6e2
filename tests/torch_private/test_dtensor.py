"""The caches of DTensor, which hold meshes."""

import needs
import pytest
import torch
from ranks import run_ranks

from pgregistry.torch_private import dtensor


def sizes() -> dict[str, int]:
    """Return how much each cache that torch lets one look into has seen."""
    from torch.distributed.tensor._redistribute import _gen_transform_infos

    return {
        "collectives": _gen_transform_infos.cache_info().currsize,
        "decisions, in C++": sum(torch._C._get_DTensor_sharding_propagator_cache_stats()),
    }


def remembered() -> tuple[dict[str, int], dict[str, int]]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    one = distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)])
    (one @ one).full_tensor()
    before = sizes()
    dtensor.forget_meshes()
    return before, sizes()


@needs.DTENSOR_CACHE
def test_the_caches_of_dtensor_are_cleared() -> None:
    for before, after in run_ranks(2, remembered):
        assert min(before.values()) > 0
        assert max(after.values()) == 0


@needs.DTENSOR_CACHE
def test_a_torch_without_the_private_call_is_cleared_as_far_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed.tensor

    monkeypatch.delattr(torch._C, "_clear_DTensor_sharding_propagator_cache")
    dtensor.forget_meshes()


def test_nothing_is_imported_to_be_cleared() -> None:
    assert run_ranks(1, without_dtensor) == [False]


def without_dtensor() -> bool:
    import sys

    for name in [name for name in sys.modules if name.startswith("torch.distributed.tensor")]:
        del sys.modules[name]
    dtensor.forget_meshes()
    return "torch.distributed.tensor" in sys.modules
