"""The barriers of a build, failures that are announced, and roll calls: on a counting store, with threads as ranks."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting
from threads import as_ranks, busiest, scope_of

from pgregistry import BuildError
from pgregistry.coordination.barrier import announce_failure, barrier, check_failure, delete_keys, give_up
from pgregistry.coordination.decision import Decision
from pgregistry.coordination.store.scoped_store import ScopedStore


@pytest.fixture
def short_roll_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgregistry.coordination.roster.ROLL_CALL", 0.5)


def outcome_of(size: int, function: Any, ranks: Any = None) -> dict[int, Any]:
    shared = dist.HashStore()
    return as_ranks(lambda rank: function(scope_of(Counting(shared), rank, size)), ranks or range(size))


@pytest.mark.parametrize("size", [1, 4, 32])
def test_a_barrier_takes_at_most_two_calls_a_rank(size: int) -> None:
    def one(store: Counting, rank: int) -> None:
        scope = scope_of(store, rank, size)
        store.calls.clear()
        barrier(scope, 60, "outcome")

    assert busiest(size, one) <= 2


@pytest.mark.usefixtures("short_roll_call")
@pytest.mark.parametrize("name", ["groups", "outcome"])
def test_a_rank_that_does_not_come_to_a_barrier_is_named_in_one_text(name: Any) -> None:
    outcome = outcome_of(4, lambda scope: barrier(scope, 0.5, name), [0, 1, 3])
    assert {type(error) for error in outcome.values()} == {BuildError}
    assert len(set(map(str, outcome.values()))) == 1
    assert str(outcome[0]).endswith("waited 0.5 s for others to have theirs. Rank 2 did not answer.")
    assert {error.ranks for error in outcome.values()} == {(2,)}


@pytest.mark.parametrize("name", ["groups", "outcome"])
def test_a_failure_ends_the_wait_in_a_barrier_at_once(name: Any) -> None:
    def one(scope: Any) -> None:
        if scope.rank == 2:
            time.sleep(0.3)
            assert announce_failure(scope, RuntimeError("no disk")) is None
        else:
            barrier(scope, 60, name)

    begun = time.monotonic()
    outcome = outcome_of(4, one)
    assert time.monotonic() - begun < 10
    assert outcome.pop(2) is None
    text = "Rank 2 failed while process groups were built: RuntimeError: no disk"
    assert {str(error) for error in outcome.values()} == {text}
    assert {error.ranks for error in outcome.values()} == {(2,)}


def test_of_two_failures_the_first_is_the_one_that_all_raise() -> None:
    def one(scope: Any) -> Any:
        time.sleep(0.2 * scope.rank)
        return announce_failure(scope, RuntimeError(f"disk {scope.rank}"))

    first, *others = outcome_of(3, one).values()
    assert first is None
    assert {str(error) for error in others} == {"Rank 0 failed while process groups were built: RuntimeError: disk 0"}


@pytest.mark.usefixtures("short_roll_call")
def test_a_rank_that_is_slow_at_the_last_barrier_raises_if_the_others_gave_up_on_it() -> None:
    gave_up = threading.Semaphore(0)

    def one(scope: Any) -> None:
        for _ in range(2 if scope.rank == 1 else 0):
            assert gave_up.acquire(timeout=30)
        try:
            barrier(scope, 0.5, "outcome")
        finally:
            gave_up.release()

    outcome = outcome_of(3, one)
    assert {type(error) for error in outcome.values()} == {BuildError}
    assert len(set(map(str, outcome.values()))) == 1


def test_a_rank_whose_time_is_up_when_all_others_are_done_raises_with_them_or_returns_with_them() -> None:
    """Whatever the moment, there is one outcome."""

    def one(scope: Any) -> None:
        time.sleep(0.3 if scope.rank == 1 else 0)
        barrier(scope, 0.3, "outcome")

    for _ in range(5):
        assert len({type(error) for error in outcome_of(2, one).values()}) == 1


def test_ranks_that_look_around_answer_the_roll_call_and_are_not_accused() -> None:
    def one(scope: Any) -> None:
        if scope.rank == 0:
            raise give_up(scope, lambda missing: f"Rank 0 waited for {missing}.")
        if scope.rank == 3:
            return
        until = time.monotonic() + 20
        while time.monotonic() < until:
            check_failure(scope)
            time.sleep(0.5)

    outcome = outcome_of(4, one)
    assert outcome.pop(3) is None
    assert {str(error) for error in outcome.values()} == {"Rank 0 waited for [3]. Rank 3 did not answer."}


def failing(store: Counting, rank: int, size: int, kind: str) -> None:
    scope = scope_of(store, rank, size)
    if kind == "raises" and rank == 1:
        announce_failure(scope, RuntimeError("no disk"))
    elif rank != 1:
        with pytest.raises(BuildError) as raised:
            barrier(scope, 1 if kind == "missing" else 60, "outcome")
        announce_failure(scope, raised.value)


@pytest.mark.parametrize(("kind", "limit"), [("raises", 10), pytest.param("missing", 20, marks=pytest.mark.slow)])
def test_a_failed_build_takes_as_many_calls_a_rank_with_32_ranks_as_with_8(kind: str, limit: int) -> None:
    for size in (8, 32):
        calls = busiest(size, lambda store, rank, size=size: failing(store, rank, size, kind))
        assert calls <= limit, size


@pytest.mark.parametrize("within", [False, True])
def test_what_a_rank_outside_of_within_may_still_read_stays_until_the_next_call(within: bool) -> None:
    store = dist.HashStore()
    scopes = []
    for _ in range(2):
        scopes.append(ScopedStore.open(store, 0, [0], everybody=not within))
        for name in ("agreement", "outcome"):
            Decision(scopes[-1], name).take("go")
        delete_keys(scopes[-1])
    first, second = scopes
    assert [first.has(name) for name in ("agreement", "outcome")] == [False, False]
    assert [second.has(name) for name in ("agreement", "outcome")] == [within, True]
