"""Worlds in which a process has nobody to agree with: alone without a launcher, and torch's backend `fake`."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
import torch
import torch.distributed as dist
from environment import set_by_launchers
from ranks import run_ranks

import pgregistry
from pgregistry import WORLD, ConfigError, Mode, Split


class Lines(logging.Handler):
    """Keeps the warnings of pgregistry."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        logging.getLogger("pgregistry").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def without_a_launcher(environ: dict[str, str]) -> Any:
    for name in set_by_launchers():
        os.environ.pop(name, None)
    os.environ.update(environ)
    lines = Lines()
    with pgregistry.init(backend="gloo") as context:
        context.verify()
        ones = torch.ones(1)
        dist.all_reduce(ones, group=context["data"].group)
        shape = context.device_mesh("data", "tensor").shape
        return context.world_size, context.local_rank, ones.item(), tuple(shape), lines.lines


def test_a_process_without_a_launcher_is_a_world_of_one() -> None:
    warning = (
        "No launcher has set a rank, so this process is a world of 1. Start several with torchrun --nproc-per-node N "
        "…, or call torch.distributed.init_process_group before init()."
    )
    assert run_ranks(1, without_a_launcher, {}, world=False) == [(1, 0, 1.0, (1, 1), [warning])]


def test_a_rank_alone_needs_no_address() -> None:
    environ = {"RANK": "0", "WORLD_SIZE": "1"}
    assert run_ranks(1, without_a_launcher, environ, world=False) == [(1, None, 1.0, (1, 1), [])]


def start_fake(rank: int, size: int) -> None:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)


def dry_run(build: str) -> Any:
    os.environ["PGREGISTRY_BUILD"] = build
    start_fake(5, 1024)
    half = Mode(
        "half", over=Split(WORLD, inner="half", size=2), backend="nccl", options={"is_high_priority_stream": True}
    )
    with pgregistry.init(extra=[half], tensor=8, pipe=4, cpu=True, within=range(512)) as context:
        for mode in context:
            dist.all_reduce(torch.ones(1), group=context[mode].group)
        context.verify()
        context.set_timeout(60)
        mesh = context.device_mesh("data", "tensor")
        found = {dist.get_backend(context[mode].group) for mode in context}
        same = context["half"].cpu_group is context["half"].group
        tensor = context["tensor"]
        ranks = dist.get_process_group_ranks(tensor.group)
    with pgregistry.init(within=[0, 1, 2]) as outside, pgregistry.init() as everybody:
        none, world = list(outside), everybody["global"].group is dist.group.WORLD
    return found, same, ranks, tensor.rank, tuple(mesh.shape), none, world, dist.is_initialized()


@pytest.mark.parametrize("build", ["name", "public"])
def test_in_a_fake_world_init_is_a_dry_run_of_any_rank(build: str) -> None:
    expected = ({"fake"}, True, list(range(8)), 5, (16, 8), [], True, True)
    assert run_ranks(1, dry_run, build, world=False) == [expected]


def refused_in_a_fake_world() -> list[str]:
    start_fake(3, 4)
    answers = []
    with pytest.raises(ConfigError) as raised:
        pgregistry.init(tensor=3)
    answers.append(str(raised.value))
    dist.get_rank = lambda: 9  # as with a torch that does not check it
    with pytest.raises(ConfigError) as raised:
        pgregistry.init()
    answers.append(str(raised.value))
    with pytest.raises(ConfigError, match="No context is open"):
        pgregistry.current()
    return answers


def test_a_fake_world_refuses_what_a_real_one_refuses_and_a_rank_out_of_range() -> None:
    (answers,) = run_ranks(1, refused_in_a_fake_world, world=False)
    assert answers[0].startswith("tensor = 3 does not divide world size 4.")
    assert answers[1] == "The default process group has rank 9, which must be from 0 to 3."
