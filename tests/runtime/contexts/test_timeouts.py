"""`context.set_timeout()`: later collectives have the new timeout, those of other modes and worlds the old one."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from ranks import run_ranks

import pgregistry
from pgregistry import WORLD, Mode, Split


def seconds(group: Any) -> float:
    options: Any = group._get_backend(torch.device("cpu")).options
    return float(options._timeout.total_seconds())


def of_some_modes() -> list[float]:
    sizes: dict[str, Any] = {"tensor": 2, "zero1": {"dedicated": True}}
    with pgregistry.init(timeout=100, disable=["nettest"], **sizes) as context:
        groups = [context[mode].group for mode in ("tensor", "data", "zero1", "global")]
        context.set_timeout(50, "tensor", "nettest")
        found = [seconds(group) for group in groups]
        context.set_timeout(20)
        return found + [seconds(group) for group in groups]


def test_the_timeout_of_all_process_groups_or_of_some_modes_changes() -> None:
    assert run_ranks(4, of_some_modes, world=False) == [[50, 100, 100, 100, 20, 20, 20, 20]] * 4


def in_the_world_of_another() -> list[float]:
    world = dist.group.WORLD
    before = seconds(world)
    half = Mode("half", over=Split(WORLD, inner="half", size=2), backend="fake", cpu=True)
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    with pgregistry.init(extra=[half], only=["global"]) as context:
        context.set_timeout(50)
        return [seconds(world) - before, seconds(context["half"].cpu_group)]


def test_a_world_that_was_there_keeps_its_timeout_and_companions_have_the_new_one() -> None:
    assert run_ranks(4, in_the_world_of_another) == [[0, 50]] * 4
