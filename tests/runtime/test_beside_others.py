"""`init` beside a user's own process groups, and several parts of one world."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist
from ranks import run_ranks, verified

import pgregistry
from pgregistry import Mode

pytestmark = pytest.mark.slow


def summed(group: Any) -> float:
    import torch

    ones = torch.ones(1) * (1 + dist.get_rank())
    dist.all_reduce(ones, group=group)
    return float(ones.item())


def beside_a_users_own_groups() -> list[Any]:
    """Ranks 0 and 1 make a group that the others do not know of, before and after."""
    rank = dist.get_rank()
    answers: list[Any] = []
    dist.new_group([0, 1])  # on all ranks, as torch wants it
    if rank < 2:
        answers.append(summed(dist.new_group([0, 1], use_local_synchronization=True, timeout=timedelta(seconds=20))))
    with pgregistry.init(tensor=2, pipe=2, extra=[ENDS]) as context:
        answers.append(verified(context))
        answers.append(summed(dist.new_group([0, 2], timeout=timedelta(seconds=20))) if rank in (0, 2) else None)
        if rank not in (0, 2):
            dist.new_group([0, 2])
        with pgregistry.init(pipe=2) as second:
            answers.append(verified(second))
    after = dist.new_group([1, 3], timeout=timedelta(seconds=20))
    answers.append(summed(after) if rank in (1, 3) else None)
    return answers


ENDS = Mode("ends", over="pipe", at=0)


@pytest.mark.parametrize("how", ["name", "public"])
def test_groups_that_a_user_makes_and_ours_do_not_disturb_each_other(how: str) -> None:
    first, second, third, fourth = run_ranks(
        4, beside_a_users_own_groups, env={} if how == "name" else {"PGREGISTRY_BUILD": "public"}
    )
    assert first == [3, True, 4, True, None]
    assert second == [3, True, None, True, 6]
    assert third == [True, 4, True, None]
    assert fourth == [True, None, True, 6]


def after_asymmetric_groups() -> bool:
    """A user made groups on some ranks only, so ranks have counted differently."""
    rank = dist.get_rank()
    for _ in range(rank):
        dist.new_group([rank], use_local_synchronization=True, timeout=timedelta(seconds=20))
        if rank == 3:
            dist.new_group([0, 1])  # a group of others, which only this rank counts
    good = []
    for sizes in ({"tensor": 2}, {"pipe": 2, "tensor": 2, "nettest": 3}):
        with pgregistry.init(**sizes) as context:
            good.append(verified(context))
    return all(good)


@pytest.mark.parametrize("how", ["name", "public"])
def test_groups_are_right_after_a_users_own_that_only_some_ranks_made(how: str) -> None:
    env = {} if how == "name" else {"PGREGISTRY_BUILD": "public"}
    assert run_ranks(4, after_asymmetric_groups, env=env) == [True] * 4


def seen(sizes: dict[str, Any]) -> Any:
    with pgregistry.init(**sizes) as context:
        context.verify()
        members = {name: dist.get_process_group_ranks(context[name].group) for name in context.plan.modes}
        return members, len(context.process_groups.created)


@pytest.mark.parametrize("world", [True, False])
def test_public_calls_build_the_same_groups(world: bool) -> None:
    sizes = {"tensor": 2, "pipe": 2, "zero1": {"dedicated": True}, "nettest": 3}
    by_name = run_ranks(8, seen, sizes, world=world)
    assert run_ranks(8, seen, sizes, world=world, env={"PGREGISTRY_BUILD": "public"}) == by_name


def trainer_beside_generator() -> Any:
    rank = int(os.environ["RANK"])
    trains = rank < 4
    answers = []
    for _ in range(2):
        if trains:
            context = pgregistry.init(within=range(4), tensor=2, pipe=2)
        else:
            context = pgregistry.init(within=range(4, 6), tensor=2)
        with context:
            answers.append((verified(context), context["tensor"].ranks))
            answers.append((summed(None), dist.get_world_size()))
    return answers


@pytest.mark.parametrize("world", [True, False])
def test_a_trainer_beside_a_generator(world: bool) -> None:
    for rank, answer in enumerate(run_ranks(6, trainer_beside_generator, world=world)):
        pair = (rank // 2 * 2, rank // 2 * 2 + 1)
        assert answer == [(True, pair), (21, 6)] * 2


def trainer_is_wrong(first: int) -> Any:
    """One trainer differs; the generator's ranks wait for a world that does not come."""
    rank, begun = int(os.environ["RANK"]), time.monotonic()
    trains = rank // 2 == first // 2
    mine = [rank // 2 * 2, rank // 2 * 2 + 1]
    with pytest.raises(pgregistry.PgregistryError) as raised:
        pgregistry.init(within=mine, tensor=1 + rank % 2 if trains else 2, build_timeout=30)
    return type(raised.value).__name__, str(raised.value), time.monotonic() - begun, dist.is_initialized()


@pytest.mark.parametrize("first", [0, 2])
def test_ranks_that_wait_for_a_world_hear_at_once_that_others_were_refused(first: int) -> None:
    for kind, text, seconds, world in run_ranks(4, trainer_is_wrong, first, world=False):
        assert not world
        assert kind == "PlanMismatch"
        assert seconds < 15, text
        assert f"rank {first + 1}: 2 (keyword)" in text, text


def a_world_that_one_cannot_join(odd: int, alone: bool) -> Any:
    """Two parts of two ranks, or one and two ranks that are in none."""
    rank, begun = int(os.environ["RANK"]), time.monotonic()
    if rank == odd:
        os.environ["GLOO_SOCKET_IFNAME"] = "none"
    elif rank >= 2:
        time.sleep(1)
    with pytest.raises(pgregistry.BuildError) as raised:
        pgregistry.init(within=[0, 1] if alone else [rank // 2 * 2, rank // 2 * 2 + 1], build_timeout=60)
    return str(raised.value), time.monotonic() - begun, dist.is_initialized()


@pytest.mark.parametrize(("odd", "alone"), [(0, False), (3, False), (0, True), (3, True)])
def test_a_rank_that_cannot_join_the_world_tells_also_ranks_of_no_or_another_part(odd: int, alone: bool) -> None:
    answers = run_ranks(4, a_world_that_one_cannot_join, odd, alone, world=False)
    for text, seconds, world in answers:
        assert not world
        assert seconds < 20, text
        assert text.startswith(f"Rank {odd} of 4 could not join the default process group: "), text
