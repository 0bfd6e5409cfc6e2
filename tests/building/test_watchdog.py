"""The watchdog: it names the group that waits for a missing rank, with few store calls."""

import time
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting
from threads import as_ranks, busiest, scope_of

from pgregistry import BuildError
from pgregistry.building.specs import GroupSpec
from pgregistry.building.watchdog import Watchdog
from pgregistry.coordination.barrier import announce_failure


def spec(mode: str, *ranks: int) -> GroupSpec:
    return GroupSpec(ranks, "gloo", mode=mode, owner=mode)


def watch(store: Any, rank: int, groups: dict[GroupSpec, object], size: int) -> None:
    """Wait until the watchdog raises."""
    watchdog = Watchdog(scope_of(store, rank, size), groups, seconds=0.3)
    while True:
        time.sleep(watchdog.next(0.05))
        watchdog.look_around()


@pytest.fixture
def short_roll_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgregistry.coordination.roster.ROLL_CALL", 1.0)


@pytest.mark.usefixtures("short_roll_call")
def test_a_missing_rank_is_named_with_the_group_that_waits_for_it_and_the_same_on_every_rank() -> None:
    store = dist.HashStore()
    groups: dict[GroupSpec, object] = {spec("tensor", 0, 1): "made", spec("data", 0, 1, 2, 3): None}
    answers = as_ranks(lambda rank: watch(store, rank, dict(groups), 4), [0, 1, 3])
    (text,) = {str(error) for error in answers.values()}
    assert text.partition(" waited ")[2] == (
        "0.3 s. Rank 2 is missing from the process group of mode 'data', group 0 (0, 1, 2, 3), backend gloo. "
        "Rank 2 did not answer."
    )
    assert {error.ranks for error in answers.values()} == {(2,)}


@pytest.mark.usefixtures("short_roll_call")
def test_a_missing_rank_is_named_with_a_group_if_all_are_made_before_its_address_comes() -> None:
    store = dist.HashStore()
    groups: dict[GroupSpec, object] = {spec("tensor", 0, 1): "made", spec("data", 0, 1, 2): "made"}
    answers = as_ranks(lambda rank: watch(store, rank, dict(groups), 3), [0, 1])
    (text,) = {str(error) for error in answers.values()}
    assert "Rank 2 is missing from the process group of mode 'data', group 0 (0, 1, 2), backend gloo." in text


def test_ranks_that_are_all_there_name_the_groups_that_are_not_connected() -> None:
    store = dist.HashStore()
    groups: dict[GroupSpec, object] = {spec("tensor", 0, 1): None}
    answers = as_ranks(lambda rank: watch(store, rank, dict(groups), 2), [0, 1])
    (text,) = {str(error) for error in answers.values()}
    assert text.partition(" waited ")[2] == (
        "0.3 s. These are not connected: the process group of mode 'tensor', group 0 (0, 1), backend gloo. "
        "All ranks answered: some are slow, or their hosts do not reach each other."
    )


def test_the_failure_of_another_rank_is_raised_at_the_next_look() -> None:
    store = dist.HashStore()
    announce_failure(scope_of(store, 1, 2), RuntimeError("no card"))
    watchdog = Watchdog(scope_of(store, 0, 2), {}, seconds=60)
    with pytest.raises(BuildError) as raised:
        watchdog.look_around()
    assert str(raised.value) == "Rank 1 failed while process groups were built: RuntimeError: no card"
    assert raised.value.ranks == (1,)


def test_a_look_is_not_later_than_the_end() -> None:
    watchdog = Watchdog(scope_of(dist.HashStore(), 0, 1), {}, seconds=60)
    assert watchdog.next(5) == 5
    assert 50 < watchdog.next(100) <= 60


@pytest.mark.slow
def test_the_calls_of_a_rank_that_misses_another_do_not_grow_with_the_group() -> None:
    """They were one for each rank of the group."""

    def calls(size: int) -> int:
        def one(store: Counting, rank: int) -> None:
            if rank == size - 1:
                return  # this one never comes
            watchdog = Watchdog(scope_of(store, rank, size), {spec("data", *range(size)): None}, seconds=0.01)
            store.calls.clear()
            time.sleep(0.02)
            with pytest.raises(BuildError, match=f"Rank {size - 1} is missing"):
                watchdog.look_around()

        return busiest(size, one)

    assert max(calls(8), calls(64)) <= 12


def test_torch_waits_no_shorter_than_the_watchdog_for_only_the_watchdog_can_name_who_is_missing() -> None:
    watchdog = Watchdog(scope_of(dist.HashStore(), 0, 2), {}, seconds=10)
    assert watchdog.after(3) == 3
    assert 10 < watchdog.after(3600) < 20
    assert 10 < watchdog.after() < 20
