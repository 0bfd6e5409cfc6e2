"""Backends and devices, and the environment that gloo reads."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from ranks import run_ranks

from pgregistry import BuildError
from pgregistry.building.backend import (
    ONE_READ,
    SHORT_ADDRESSES,
    SMALL,
    default_group_backend,
    default_group_is_bound,
    device_backends,
    gloo_environment,
    mesh_device_type,
    tensor_device,
    torch_options,
)
from pgregistry.building.specs import GroupSpec

FIRST, SECOND = ONE_READ, SHORT_ADDRESSES


def test_the_environment_is_as_before_after_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FIRST, raising=False)
    monkeypatch.setenv(SECOND, "0")
    before = dict(os.environ)
    with gloo_environment(SMALL + 1):
        assert (os.environ[FIRST], os.environ[SECOND]) == ("1", "1")
    assert dict(os.environ) == before


def test_what_crashes_a_rank_that_lacks_it_is_set_in_large_worlds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECOND, raising=False)
    with gloo_environment(SMALL):
        assert SECOND not in os.environ


def test_the_environment_is_as_before_after_a_build_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FIRST, "0")
    monkeypatch.delenv(SECOND, raising=False)
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), gloo_environment(SMALL + 1):
        _ = 1 / 0
    assert dict(os.environ) == before


def test_a_variable_that_was_deleted_meanwhile_stays_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FIRST, raising=False)
    with gloo_environment(SMALL):
        del os.environ[FIRST]
    assert FIRST not in os.environ


def spec(backend: str, **options: object) -> GroupSpec:
    return GroupSpec((0, 1), backend, tuple(options.items()), mode="tensor")


@pytest.mark.parametrize("backend", ["gloo", "nccl", "lab"])
def test_a_mode_without_options_has_none(backend: str) -> None:
    assert torch_options(spec(backend)) is None


def test_a_backend_of_a_third_party_takes_the_options_as_they_are() -> None:
    assert torch_options(spec("lab", depth=3)) == {"depth": 3}


def test_options_of_nccl_are_attributes_of_its_options_or_of_their_config(monkeypatch: pytest.MonkeyPatch) -> None:
    def options() -> Any:
        return SimpleNamespace(is_high_priority_stream=False, config=SimpleNamespace(max_ctas=1))

    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=options), raising=False)
    converted = torch_options(spec("nccl", is_high_priority_stream=True, max_ctas=8))
    assert (converted.is_high_priority_stream, converted.config.max_ctas) == (True, 8)
    with pytest.raises(BuildError) as raised:
        torch_options(spec("nccl", max_cta=8))
    assert str(raised.value) == (
        "Mode 'tensor' has process group option 'max_cta', which must be an attribute of ProcessGroupNCCL.Options or "
        "of its config. Did you mean 'max_ctas'?"
    )


def seen_of(backend: str) -> Any:
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    dist.init_process_group(backend)
    world = dist.group.WORLD
    assert world is not None
    found = (
        default_group_backend(),
        device_backends()["cpu"],
        str(tensor_device(world)),
        mesh_device_type(world),
        default_group_is_bound(),
    )
    dist.destroy_process_group()
    return found


@pytest.mark.parametrize("backend", ["gloo", "cpu:gloo,cuda:fake"])
def test_a_default_group_is_known_by_the_name_that_new_group_takes(backend: str) -> None:
    assert run_ranks(1, seen_of, backend, world=False) == [(backend, "gloo", "cpu", "cpu", False)]
