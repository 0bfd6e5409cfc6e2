"""`init` on real ranks: rounds, parts of a world, refusals that are followed by success, interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting
from ranks import run_ranks, verified

import pgregistry
from pgregistry import ConfigError, PlanMismatch


def calls_by_purpose(folder: str, sizes: dict[str, Any]) -> dict[str, list[str]]:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = Counting(dist.FileStore(f"{folder}/counted", size))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    dist.barrier()
    store.calls.clear()
    context = pgregistry.init(**sizes)
    calls = list(store.calls)
    verified(context)
    purposes: dict[str, list[str]] = {"creation": [], "confirmation": [], "agreement": []}
    for call, key in calls:
        building = "/groups/" in key or "/addresses/" in key or call == "check"
        purpose = "creation" if building else "confirmation" if "/outcome" in key else "agreement"
        purposes[purpose].append(call)
    return purposes


@pytest.mark.parametrize("size", [4, 8])
def test_the_creation_of_all_process_groups_takes_at_most_two_calls_a_rank(size: int, tmp_path: Path) -> None:
    sizes = {"tensor": 2, "pipe": 2, "zero1": {"dedicated": True}, "nettest": 3}
    for calls in run_ranks(size, calls_by_purpose, str(tmp_path), sizes, world=False):
        assert len(calls["agreement"]) <= 5, calls
        assert calls["creation"] == ["set", "multi_get"], calls
        assert len(calls["confirmation"]) <= 2, calls


def again_and_at_once() -> list[Any]:
    proved: list[Any] = []
    for sizes in ({"tensor": 2}, {"tensor": 2}, {"pipe": 4}):
        with pgregistry.init(**sizes) as context:
            proved.append(verified(context))
    with pgregistry.init(tensor=2) as one, pgregistry.init(pipe=2, only=["pipe", "tensor"]) as other:
        proved += [verified(other), verified(one), one["tensor"].ranks, other.plan.modes]
    return proved


@pytest.mark.parametrize("world", [True, False])
def test_inits_in_a_row_and_contexts_at_once_do_not_meet_each_others_keys(world: bool) -> None:
    for rank, answer in enumerate(run_ranks(4, again_and_at_once, world=world)):
        assert answer == [True] * 5 + [(rank // 2 * 2, rank // 2 * 2 + 1), ("pipe", "tensor")]


def names(context: pgregistry.ParallelContext) -> list[str]:
    return [context[mode].group.group_name for mode in ("data", "tensor")]


def contexts_that_ranks_close_in_different_orders() -> list[list[str]]:
    kept, closed = [pgregistry.init(tensor=2) for _ in range(2)][:: 1 if int(os.environ["RANK"]) % 2 else -1]
    closed.close()
    third = pgregistry.init(tensor=2)
    verified(third)
    kept.close()
    with pgregistry.init(tensor=2) as fourth:
        found = [names(third), names(fourth)]
    third.close()
    with pgregistry.init(tensor=2) as again, pgregistry.init(pipe=2) as other, pgregistry.init(tensor=2) as second:
        return [*found, names(again), names(second), names(other)]


def test_names_are_of_the_plan_and_of_the_smallest_number_that_no_rank_uses() -> None:
    ours, other = (pgregistry.plan(4, **{axis: 2}).fingerprint[:8] for axis in ("tensor", "pipe"))
    for rank, found in enumerate(run_ranks(4, contexts_that_ranks_close_in_different_orders)):
        of_plan = {
            (n): [f"pgregistry/{ours}/{n}/data/{rank % 2}", f"pgregistry/{ours}/{n}/tensor/{rank // 2}"]
            for n in range(3)
        }
        assert found[:4] == [of_plan[2], of_plan[0], of_plan[0], of_plan[1]]
        assert found[4] == [f"pgregistry/{other}/0/data/{rank % 2}", f"pgregistry/{other}/0/dummy/{rank}"]


def inside_the_world_of_another() -> list[bool]:
    """The first context started the world; the second and the third live in it, one within some ranks."""
    rank = int(os.environ["RANK"])
    half = [0, 1] if rank < 2 else [2, 3]
    with (
        pgregistry.init(tensor=2) as one,
        pgregistry.init(pipe=2) as two,
        pgregistry.init(within=half) as three,
        pgregistry.init(within=half) as four,
    ):
        return [verified(context) for context in (four, three, two, one)]


def test_contexts_live_at_once_in_a_world_that_the_first_one_started() -> None:
    assert run_ranks(4, inside_the_world_of_another, world=False) == [[True] * 4] * 4


def worlds_in_a_row() -> list[bool]:
    answers = []
    for sizes in ({"tensor": 2}, {"tensor": 2}, {"pipe": 4}):
        with pgregistry.init(**sizes) as context:
            answers.append(verified(context))
        answers.append(not dist.is_initialized())
    return answers


def test_worlds_in_a_row_do_not_meet_each_others_keys() -> None:
    assert run_ranks(4, worlds_in_a_row, world=False) == [[True] * 6] * 4


def test_a_mismatch_is_followed_by_an_init_that_works() -> None:
    assert run_ranks(4, refused_then_right) == [True] * 4


def refused_then_right() -> bool:
    for _ in range(2):
        with pytest.raises(PlanMismatch, match="size tensor"):
            pgregistry.init(tensor=4 if dist.get_rank() == 2 else 2)
        with pytest.raises((PlanMismatch, ConfigError), match="tensor = 3"):
            pgregistry.init(tensor=3 if dist.get_rank() == 1 else 2)
    with pgregistry.init(tensor=2) as context:
        return verified(context)


def halves() -> Any:
    rank = dist.get_rank()
    mine = range(2) if rank < 2 else range(2, 6)
    sizes = {"tensor": 2} if rank < 2 else {"pipe": 2, "tensor": 2}
    before = len(dist.distributed_c10d._world.pg_map)
    with pgregistry.init(within=mine, **sizes) as context:
        good = verified(context)
        found = context.plan.sizes["pipe"], context["tensor"].ranks
    return good, *found, len(dist.distributed_c10d._world.pg_map) == before


def test_disjoint_parts_of_a_world_agree_on_different_plans_at_the_same_time() -> None:
    answers = run_ranks(6, halves)
    assert answers[:2] == [(True, 1, (0, 1), True)] * 2
    assert answers[2:] == [(True, 2, (2, 3), True)] * 2 + [(True, 2, (4, 5), True)] * 2


def one_half_is_wrong() -> Any:
    rank = dist.get_rank()
    if rank < 2:
        with pytest.raises(PlanMismatch, match="rank 1: 2"):
            pgregistry.init(within=[0, 1], tensor=1 + rank)
        return "refused"
    with pgregistry.init(within=[2, 3], tensor=2) as context:
        return context["tensor"].ranks


def test_a_difference_in_one_part_of_a_world_does_not_reach_the_other_part() -> None:
    assert run_ranks(4, one_half_is_wrong) == ["refused"] * 2 + [(2, 3)] * 2


def a_plan_that_fails_in_one_half() -> list[Any]:
    """The ranks of a half look for one another there, also for one that has no plan; then all go on together."""
    rank, answers = dist.get_rank(), list[Any]()
    half = [0, 1] if rank < 2 else [2, 3]
    for tensor in (3 if rank == 1 else 2, 2):
        try:
            with pgregistry.init(within=iter(half), tensor=tensor, agree_timeout=30) as context:
                answers.append(context["tensor"].ranks)
        except (PlanMismatch, ConfigError) as error:
            answers.append(f"{type(error).__name__}: {error}".splitlines()[0])
    with pgregistry.init(agree_timeout=30) as context:
        return [*answers, verified(context)]


def test_a_plan_that_fails_within_some_ranks_is_told_to_these_and_to_no_others() -> None:
    first, second, third, fourth = run_ranks(4, a_plan_that_fails_in_one_half)
    assert first == ["PlanMismatch: The ranks disagree about what to build; nothing was created.", (0, 1), True]
    assert second == ["ConfigError: tensor = 3 does not divide world size 2.", (0, 1), True]
    assert third == fourth == [(2, 3), (2, 3), True]


class Broken(Mapping[str, Any]):
    """Settings that raise what nobody expects."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Any:
        raise MemoryError("no memory")

    def __len__(self) -> int:
        return 1


def told_to_all() -> str:
    try:
        pgregistry.init(**({"tensor": Broken()} if dist.get_rank() == 1 else {}))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[-1].strip()}"
    return "built"


def test_an_unexpected_error_of_planning_is_quoted_by_all_others() -> None:
    mine = "MemoryError: no memory"
    assert run_ranks(2, told_to_all) == [f"PlanMismatch: rank 1: failed with {mine}", mine]


def interrupted() -> list[str]:
    """The last rank comes when the first has been interrupted in its wait for it."""
    rank, answers = dist.get_rank(), []
    if rank == 0:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    time.sleep(2 if rank == 2 else 0)
    for _ in range(2):
        try:
            with pgregistry.init(agree_timeout=30, build_timeout=30):
                answers.append("built")
        except (KeyboardInterrupt, pgregistry.PgregistryError) as error:
            answers.append(str(error))
    return answers


def test_a_rank_that_is_interrupted_while_it_waits_is_no_longer_waited_for() -> None:
    zero, one, two = run_ranks(3, interrupted)
    assert zero == ["", "built"]
    assert one == two
    assert one[0].startswith("Rank 0 ")
    assert "KeyboardInterrupt" in one[0]
    assert one[1] == "built"


def keys_of_rounds(kind: str) -> list[int]:
    """Return how many keys the store of a living world has after some rounds."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, size, is_master=rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    found = []
    if kind == "failed":
        dist.Backend.register_backend("broken", lambda *_: 1 / 0, devices=["cpu"])
    for round_ in range(6):
        if kind == "refused":
            with pytest.raises(PlanMismatch):
                pgregistry.init(tensor=2 if rank == 1 else 1)
        elif kind == "failed":
            with pytest.raises(pgregistry.BuildError):
                pgregistry.init(extra=[pgregistry.Mode("wrong", over="tensor", backend="broken")])
        with pgregistry.init(tensor=2):
            pass
        dist.barrier()
        if round_ in (1, 5):
            found.append(store.num_keys())
        dist.barrier()
    return found


@pytest.mark.parametrize("kind", ["built", "refused", "failed"])
def test_keys_of_rounds_that_are_over_do_not_stay_in_the_store(kind: str) -> None:
    for early, late in run_ranks(4, keys_of_rounds, kind, world=False):
        assert late <= early
