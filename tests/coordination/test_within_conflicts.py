"""Ranks that wait for one another with other lists of `within`: on a store, with threads as ranks."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting
from threads import as_ranks

import pgregistry
from pgregistry import PlanMismatch
from pgregistry.coordination.agreement import Agreement
from pgregistry.coordination.decision import Decision, Reason
from pgregistry.coordination.proposal import propose
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.coordination.within_conflicts import WithinConflicts

WORLD = 4


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgregistry.coordination.store.scoped_store.SLICE", 0.2)
    monkeypatch.setattr("pgregistry.coordination.comparison.MOMENT", 0.4)


def scope(store: Any, rank: int, ranks: Sequence[int]) -> ScopedStore:
    return ScopedStore.open(store, rank, ranks, everybody=len(ranks) == WORLD)


def agree_in(
    lists: Mapping[int, Sequence[Sequence[int]]], *, late: Mapping[int, Sequence[float]] | None = None
) -> dict[int, Any]:
    """Return what agreement raises on each rank, which comes with one list after another, each time so many s late."""
    store = dist.HashStore()

    def one(rank: int) -> None:
        pauses = (late or {}).get(rank, [0.0] * len(lists[rank]))
        for ranks, pause in zip(lists[rank], pauses, strict=True):
            time.sleep(pause)
            plan = pgregistry.plan(WORLD, within=ranks)
            Agreement(scope(Counting(store), rank, ranks), propose(plan, {}, {}, {}), 30).reach()

    return as_ranks(one, sorted(lists))


@pytest.mark.parametrize(
    ("here", "there", "text"),
    [
        ([0, 1], [0, 1, 2], "    rank 1: ranks 0-2"),
        ([0, 1, 2, 3], [0, 1], "    rank 1: ranks 0-1"),
    ],
)
def test_ranks_that_wait_for_one_another_in_other_lists_raise_both(
    here: list[int], there: list[int], text: str
) -> None:
    begun = time.monotonic()
    outcome = agree_in({0: [here], 1: [there]})
    assert time.monotonic() - begun < 15
    assert {type(error) for error in outcome.values()} == {PlanMismatch}
    lists = {0: "all ranks" if len(here) == WORLD else "ranks 0-1", 1: text.rpartition(": ")[2]}
    for error in outcome.values():
        assert str(error).startswith(
            "The ranks disagree about what to build; nothing was created.\n  within:\n    rank "
        )
        assert all(f"    rank {rank}: {said}" in str(error) for rank, said in lists.items())


def test_a_rank_that_waits_in_another_list_for_a_late_one_is_waited_for() -> None:
    lists = {0: [[0, 1]], 1: [[1, 2], [0, 1]], 2: [[1, 2]]}
    assert agree_in(lists, late={2: [1]}) == dict.fromkeys(range(3))


def test_ranks_that_come_late_to_one_list_after_another_are_waited_for() -> None:
    lists = {0: [[0, 1, 2], [0, 1]], 1: [[0, 1, 2], [0, 1]], 2: [[0, 1, 2]]}
    assert agree_in(lists, late={1: [0, 1], 2: [1]}) == dict.fromkeys(range(3))


def test_all_ranks_that_wait_elsewhere_are_named_and_told_together() -> None:
    store = dist.HashStore()
    scopes = [scope(store, 0, range(4)), scope(store, 1, [0, 1]), scope(store, 2, [0, 2, 3])]
    here, one, two = map(WithinConflicts, scopes)
    one.note()
    two.note()
    reason = here.find([1, 2, 3])
    assert reason is not None
    assert reason.text.endswith("    rank 0: all ranks\n    rank 1: ranks 0-1\n    rank 2: ranks 0, 2-3")
    assert (reason.ranks, reason.calls) == ((1, 2), tuple(one.name for one in scopes))
    here.end(reason)
    for each in scopes:
        decision = Decision(each, "agreement")
        assert decision.taken() == "failed"
        assert decision.note(Reason.decode) == reason
    for rank, waited in enumerate((here, one, two)):
        waited.count_calls(reason)
        waited.count_calls(reason)  # once is enough
        assert [scope(store, rank, each.ranks).name[-2:] for each in scopes] == ["/2"] * 3


def test_ranks_that_find_one_another_at_once_are_told_one_reason() -> None:
    store = dist.HashStore()
    scopes = [scope(store, 0, [0, 1]), scope(store, 1, [0, 1, 2])]
    conflicts = [*map(WithinConflicts, scopes)]
    for each in conflicts:
        each.note()
    reasons = [each.find([other]) for each, other in zip(conflicts, (1, 0), strict=True)]
    for each, reason in zip(conflicts, reasons, strict=True):
        assert reason is not None
        each.end(reason)
    for each in scopes:
        decision = Decision(each, "agreement")
        decision.taken()
        assert decision.note(Reason.decode) == reasons[0]


def test_a_rank_without_a_list_is_answered_and_no_key_of_that_is_left() -> None:
    store = dist.HashStore()
    there, here = WithinConflicts(scope(store, 1, range(WORLD))), WithinConflicts(scope(store, 0, [0, 1]))
    found: list[bool] = []
    quoting = threading.Thread(target=lambda: found.append(there.quote("no list", lambda: False)))
    quoting.start()
    while (reason := here.find([1])) is None:
        time.sleep(0.01)
    keys = store.num_keys()
    here.end(reason)
    quoting.join()
    assert found == [True]
    assert reason.text.endswith("    rank 1: failed with no list")
    assert scope(store, 1, [0, 1]).name.endswith("/2")  # this rank was counted in the call that it missed
    assert store.num_keys() == keys - 1 + 2  # without the note, with the decision and that count


def test_no_note_is_left_of_a_wait_that_is_over() -> None:
    store = dist.HashStore()
    here, there = WithinConflicts(scope(store, 0, [0, 1])), WithinConflicts(scope(store, 1, [0, 1, 2]))
    assert here.find([1]) is None
    there.note()
    reason = here.find([1])
    there.forget()
    assert reason is not None
    assert reason.text.endswith("  within:\n    rank 0: ranks 0-1\n    rank 1: ranks 0-2")
    assert reason.ranks == (1,)
    assert here.find([1]) is None


def test_a_note_of_a_rank_that_waits_here_is_no_conflict() -> None:
    store = dist.HashStore()
    WithinConflicts(scope(store, 1, [0, 1])).note()
    assert WithinConflicts(scope(store, 0, [0, 1])).find([1]) is None


def test_a_store_that_cannot_delete_keeps_the_note_and_does_no_harm() -> None:
    store = Counting(dist.HashStore())  # has no `delete_key`
    conflicts = WithinConflicts(scope(store, 1, [0, 1]))
    conflicts.note()
    conflicts.forget()


def test_a_wait_that_has_only_to_end_is_no_conflict() -> None:
    store = dist.HashStore()
    other = scope(store, 1, [0, 1, 2])
    here, there = WithinConflicts(scope(store, 0, [0, 1])), WithinConflicts(other)
    there.note()
    other.set("agreement", "go")
    assert here.find([1]) is None


def test_the_rank_that_hosts_the_store_outlives_a_rank_that_reads_why_nobody_comes_to_its_list() -> None:
    store = dist.HashStore()
    here, there = WithinConflicts(scope(store, 0, [0, 1])), WithinConflicts(scope(store, 1, [0, 1, 2]))
    there.note()
    read = threading.Timer(0.2, there.forget)
    read.start()
    here.outlive([1], time.monotonic() + 30)
    assert here.find([1]) is None
    read.join()
    there.note()
    started = time.monotonic()
    here.outlive([1], started + 0.1)  # a rank that does not read holds nobody up for longer
    assert time.monotonic() - started < 10


class Late(Counting):
    """A store in which a note is gone when it is read."""

    def check(self, keys: Sequence[str]) -> bool:
        return True


def test_a_note_that_is_gone_when_it_is_read_is_no_conflict() -> None:
    assert WithinConflicts(scope(Late(dist.HashStore()), 0, [0, 1])).find([1]) is None
