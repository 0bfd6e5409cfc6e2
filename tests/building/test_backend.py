"""Backends and devices, and the environment that gloo reads."""

import contextlib
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from ranks import run_ranks

from pgregistry import ConfigError
from pgregistry.building import backend as module
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


def test_the_environment_is_as_before_wherever_an_interrupt_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FIRST, raising=False)
    monkeypatch.setenv(SECOND, "0")
    before, own = dict(os.environ), (module.__file__, os.__file__, contextlib.__file__)
    lines = left = 0

    def interrupt(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename in own and event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return interrupt

    while left <= 0:  # else no line is left to interrupt
        lines += 1
        left = lines
        tracer = sys.gettrace()  # that of a debugger, or of a measurement of coverage
        sys.settrace(interrupt)
        try:
            with gloo_environment(SMALL + 1):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        assert dict(os.environ) == before, f"interrupted at line {lines} of those that it runs"
    assert lines > 20


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
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=Options), raising=False)
    for backend in ("nccl", "cpu:gloo,cuda:nccl"):
        converted = torch_options(spec(backend, is_high_priority_stream=True, max_ctas=8))
        assert (converted.is_high_priority_stream, converted.config.max_ctas) == (True, 8)


class Config:
    """NCCL's configuration, as torch binds it: a value of another type is a TypeError."""

    @property
    def max_ctas(self) -> int:
        return self._max_ctas

    @max_ctas.setter
    def max_ctas(self, value: int) -> None:
        if not isinstance(value, int):
            raise TypeError("incompatible function arguments")
        self._max_ctas = value


class Options:
    def __init__(self) -> None:
        self.config, self.is_high_priority_stream, self.group_name = Config(), False, ""


@pytest.mark.parametrize(
    ("backend", "options", "text"),
    [
        (
            "nccl",
            {"max_cta": 8},
            (
                "option max_cta = 8 (keyword), which must be an attribute of ProcessGroupNCCL.Options or of its "
                "config. Did you mean 'max_ctas'?"
            ),
        ),
        (
            "nccl",
            {"group_name": "mine"},
            (
                "option group_name = 'mine' (plan), which must be an attribute of ProcessGroupNCCL.Options or of its "
                "config. There are is_high_priority_stream and max_ctas."
            ),
        ),
        (
            "nccl",
            {"max_ctas": "8"},
            "option max_ctas = '8' (plan), which NCCL must take: incompatible function arguments.",
        ),
        (
            "gloo",
            {"max_cta": 8, "fast": True},
            (
                "options max_cta = 8 (keyword) and fast = True (plan), but backend 'gloo' takes none. Leave them "
                "out, or let the hook pgregistry_process_group_options return them for backends that take them."
            ),
        ),
    ],
)
def test_options_that_a_backend_does_not_take_are_refused(
    backend: str, options: dict[str, object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "ProcessGroupNCCL", SimpleNamespace(Options=Options), raising=False)
    with pytest.raises(ConfigError) as raised:
        torch_options(spec(backend, **options), {"max_cta": "keyword"})
    assert str(raised.value) == f"Mode 'tensor' has {text}"


def test_options_of_nccl_are_refused_where_torch_has_no_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dist, "ProcessGroupNCCL", raising=False)
    with pytest.raises(ConfigError, match=r"max_ctas = 8 \(plan\), but this torch has no NCCL\.$"):
        torch_options(spec("nccl", max_ctas=8))


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
