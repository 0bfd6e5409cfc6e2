"""The roll call in a store: few calls a rank, however many ranks there are."""

from __future__ import annotations

import threading
from typing import Any

import flight
import pytest
import torch.distributed as dist
from counting import Counting

import pgregistry
from pgregistry.diagnosis.watch.judgement import Judgement, pass_judgement
from pgregistry.diagnosis.watch.roll_call import CLOSED, RollCall, end_wait, leave

MANY = pytest.param(4096, marks=pytest.mark.slow)


def at_work(rank: int, world: int, plan: Any) -> dict[str, Any]:
    """The answer of a rank that waits for all, after some collectives in each of its groups."""
    entries = []
    for number, mode in enumerate(("tensor", "data", "pipe", "global")):
        index = plan[mode].groups.index_of(rank)
        group = {"process_group": (f"run/{mode}/{index}", f"pgregistry:{mode}/{index}"), "pg_id": number}
        entries += [flight.entry(sequence=one, retired=True, **group) for one in (1, 2)]
    last = flight.entry(sequence=3, pending_seconds=300.0, **group)
    stack = [f"function_{one}, /home/user/project/train.py:{one}" for one in range(6)]
    return flight.record(*entries, *[last] * (rank != world - 1), stack=stack, host_name=f"node{rank // 8}")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("world", [128, MANY])
def test_a_verdict_takes_ten_calls_at_most_however_many_ranks_there_are(world: int, whole: bool) -> None:
    plan = pgregistry.plan(world, tensor=8, pipe=8)
    store = dist.HashStore()
    counting = {rank: Counting(store) for rank in range(world)}
    ranks = [RollCall(counting[rank], rank, range(world), 0) for rank in range(world)]
    caller = ranks[7]
    caller.call()
    for rank, one in enumerate(ranks):
        assert one.wait(1) == "7"
        if whole or rank != world - 1:
            one.answer(at_work(rank, world, plan))
    answers = caller.answers(0.1)
    left = {} if len(answers) == world else caller.left()
    mine = pass_judgement(answers, plan, 300, Judgement(), left=left)
    found = Judgement.from_data(caller.decide(mine.to_data()))
    for one in ranks:
        if one is not caller:
            assert Judgement.from_data(one.decision(1)) == found
        one.forget("7")
    assert found.guilty == {world - 1: "process" if whole else "absent"}
    assert max(len(one.calls) for one in counting.values()) <= 10
    assert not store.check(["watch/answers/0/0"])


def test_one_of_several_ranks_calls_and_the_others_find_the_roll_called() -> None:
    store = dist.HashStore()
    one, other = (RollCall(store, rank, range(3), 0) for rank in (0, 2))
    one.call()
    one.answer({"entries": []})
    other.call()  # it goes on in the name of the first, and keeps what was answered
    other.answer({"entries": []})
    assert one.wait(1) == other.wait(1) == "0"
    assert sorted(one.answers(0.1)) == [0, 2]


def test_all_ranks_read_the_same_caller_if_two_call_at_once() -> None:
    """Two callers that read each other's names would both wait for the other to judge."""
    store = dist.HashStore()
    one, between, other = (RollCall(store, rank, range(3), 0) for rank in range(3))
    one.call()
    read = [one.wait(1)]
    other.call()
    assert {*read, between.wait(1), other.wait(1)} == {"0"}


def test_the_first_judgement_counts() -> None:
    store = dist.HashStore()
    one, other = (RollCall(store, rank, range(2), 0) for rank in (0, 1))
    assert one.decide("first") == other.decide("second") == other.decision(1) == "first"


def test_a_wait_ends_with_the_context() -> None:
    store = dist.HashStore()
    threading.Timer(0.1, lambda: end_wait(1, 4, store)).start()
    assert RollCall(store, 1, range(2), 4).wait(20) == CLOSED
    assert RollCall(store, 1, range(2), 5).wait(0.01) is None


def test_lines_of_nobody_are_no_answers() -> None:
    store = dist.HashStore()
    roll_call = RollCall(store, 0, range(2), 0)
    roll_call.call()
    store.append("watch/answers/0/0", "what\n9 x\n1 AAAA\n")
    roll_call.answer({"entries": []})
    assert roll_call.answers(0.01) == {0: {"entries": []}}


def test_why_ranks_left_is_read_in_one_call() -> None:
    store = Counting(dist.HashStore())
    roll_call = RollCall(store, 0, range(3), 0)
    assert roll_call.left() == {}
    leave(1, ValueError("no data"), store)
    leave(2, RuntimeError("gloo/transport/tcp/pair.cc: Connection closed"), store)
    store.calls.clear()
    found = roll_call.left()
    assert (found[1], found[2][1], len(store.calls)) == (["ValueError: no data", False], True, 1)
