"""Backends and devices, and the environment that gloo reads."""

import contextlib
import os
import sys
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks

from pgregistry.building.communicators import backend as module
from pgregistry.building.communicators.backend import (
    ONE_READ,
    SHORT_ADDRESSES,
    SMALL,
    default_group_backend,
    default_group_is_bound,
    device_backends,
    gloo_environment,
    make_current,
    mesh_device_type,
    rank_device,
    tensor_device,
    world_backend,
)

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


class Accelerators:
    """A machine with some accelerators, as torch shows it: this one has none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, current: int = 0) -> None:
        self.current = current
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: self.current)
        monkeypatch.setattr(torch.accelerator, "set_device_index", self.set)

    def set(self, device: torch.device) -> None:
        self.current = device.index


@pytest.mark.parametrize(
    ("count", "current", "asked", "local_rank", "expected"),
    [
        (4, 0, None, 2, 2),  # nothing has chosen a device
        (4, 0, None, None, 0),  # nobody knows the local rank
        (4, 3, None, 2, 3),  # the script has chosen one
        (1, 0, None, 2, 0),  # a launcher shows each process one device
        (4, 0, "cuda", 1, 1),
        (4, 0, "cuda:3", 1, 3),
    ],
)
def test_the_accelerator_of_the_local_rank_becomes_the_current_device_if_nothing_chose_one(
    count: int, current: int, asked: Any, local_rank: Any, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Accelerators(monkeypatch, count, current)
    device = rank_device(asked, local_rank)
    make_current(device)
    assert (str(device), machine.current) == (f"cuda:{expected}", expected)
    assert rank_device(asked, local_rank) == device


def test_the_world_of_a_machine_with_accelerators_is_torchs_own_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Accelerators(monkeypatch, 2)
    assert world_backend(None) == "cpu:gloo,cuda:nccl"
    assert world_backend("nccl") == "nccl"


def test_without_an_accelerator_there_is_gloo_and_the_cpu() -> None:
    if torch.accelerator.is_available():
        pytest.skip("this machine has accelerators")
    make_current(rank_device(None, 3))
    assert (world_backend(None), str(rank_device(None, 3))) == ("gloo", "cpu")
