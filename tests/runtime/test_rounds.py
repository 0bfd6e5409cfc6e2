"""Many plans, many rounds: every group is proved, and nothing grows."""

from __future__ import annotations

import gc
import os
import random
import time
from operator import le
from typing import Final

import pytest
import torch.distributed as dist
from random_settings import random_settings
from ranks import run_ranks, verified

import pgregistry
from pgregistry import PlanMismatch

pytestmark = pytest.mark.slow


def build_many(seeds: range) -> int:
    proved = 0
    for seed in seeds:
        settings = random_settings(random.Random(seed), dist.get_world_size())
        time.sleep(random.Random(seed * 64 + dist.get_rank()).choice([0, 0, 0, 0.002, 0.01]))
        with pgregistry.init(**settings, agree_timeout=60, build_timeout=60) as context:
            assert verified(context), (seed, settings)
            for name in context.plan.modes:
                handle = context.get(name)
                assert (handle.ranks if handle else None) == context.plan[name].group_of(context.rank), (seed, name)
        proved += 1
    return proved


PLANS: Final = 500


@pytest.mark.timeout(600)
def test_random_plans_are_built_and_every_group_is_proved() -> None:
    assert run_ranks(8, build_many, range(PLANS), timeout=550) == [PLANS] * 8


def open_things(before: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the threads and file descriptors of this process, when there are no more than before, or in 5 s.

    Rank 0 hosts the store, and so has a descriptor for each connection that another rank is about to close.
    """
    until = time.monotonic() + 5
    while True:
        gc.collect()
        time.sleep(0.05)  # a thread that was told to end
        found = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        if before is None or all(map(le, found, before)) or time.monotonic() > until:
            return found


def many_rounds(rounds: int) -> list[tuple[int, int]]:
    found = []
    for round_ in range(rounds):
        with pgregistry.init(tensor=2, nettest=3, zero1={"dedicated": True}):
            pass
        if round_ in (1, rounds - 1):
            dist.barrier()
            found.append(open_things(*found))
    return found


def test_nothing_grows_in_a_hundred_rounds_of_init_and_close() -> None:
    for first, last in run_ranks(4, many_rounds, 100, timeout=100):
        assert all(map(le, last, first)), (first, last)


def many_worlds(rounds: int) -> list[tuple[int, int]]:
    found = []
    for round_ in range(rounds):
        with pgregistry.init(tensor=2):
            pass
        assert not dist.is_initialized()
        if round_ in (1, rounds - 1):
            time.sleep(0.5)
            found.append(open_things(*found))
    return found


def test_nothing_grows_when_worlds_are_started_and_ended() -> None:
    for first, last in run_ranks(4, many_worlds, 20, world=False):
        assert all(map(le, last, first)), (first, last)


def refused_rounds() -> list[tuple[int, int]]:
    found = []
    for round_ in range(12):
        with pytest.raises(PlanMismatch):
            pgregistry.init(tensor=2 if dist.get_rank() == 1 else 1)
        if round_ in (1, 11):
            dist.barrier()
            found.append(open_things(*found))
    return found


def test_nothing_grows_when_plans_are_refused() -> None:
    for first, last in run_ranks(4, refused_rounds):
        assert all(map(le, last, first)), (first, last)


def in_public(seeds: range) -> int:
    return build_many(seeds)


def test_public_calls_build_random_plans_too() -> None:
    env = {"PGREGISTRY_BUILD": "public"}
    assert run_ranks(4, in_public, range(2000, 2030), env=env, timeout=100) == [30] * 4
