"""Rosters, tallies and roll calls: which ranks are there, found in calls that do not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch.distributed as dist
from counting import Counting
from threads import as_ranks, scope_of

from pgregistry import PlanMismatch
from pgregistry.coordination import roster
from pgregistry.coordination.roster import BITS, FREE, USED, RollCall, Roster, Tally
from pgregistry.coordination.store.connections import ANSWER


def test_ranks_sign_with_notes_in_the_order_in_which_they_come() -> None:
    store = dist.HashStore()
    for rank, note in ((2, ""), (0, "digest"), (3, "")):
        Roster(scope_of(store, rank, 4), "roster").sign(note)
    read = Roster(scope_of(store, 1, 4), "roster")
    assert list(read.signed().items()) == [(2, ""), (0, "digest"), (3, "")]
    assert read.missing() == [1]


def test_a_roster_that_a_busy_store_does_not_give_in_time_is_asked_for_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scope = scope_of(dist.HashStore(), 0, 2)
    Roster(scope, "roster").sign()
    real, seconds = scope.read, list[float]()

    def slow(keys: Sequence[str], limit: float) -> list[str] | None:
        seconds.append(limit)
        return None if limit < ANSWER else real(keys, limit)

    monkeypatch.setattr(scope, "read", slow)
    assert Roster(scope, "roster").missing() == [1]
    assert seconds == [roster.ROLL_CALL, ANSWER]
    assert Roster(scope, "none").missing() == [0, 1]  # nobody has signed it
    assert len(seconds) == 3


@pytest.mark.parametrize("text", ["x: ", "7: ", "-1: "])
def test_a_roster_that_no_rank_signed_is_a_mismatch_with_its_key(text: str) -> None:
    scope = scope_of(dist.HashStore(), 0, 4)
    scope.set("roster", text)
    with pytest.raises(PlanMismatch, match="/roster"):
        Roster(scope, "roster").signed()


@pytest.mark.parametrize("size", [4, 64])
def test_reading_a_roster_takes_one_call(size: int) -> None:
    store = dist.HashStore()
    last = size - 1
    for rank in range(last):
        Roster(scope_of(store, rank, size), "roster").sign()
    counting = Counting(store)
    reading = Roster(scope_of(counting, last, size), "roster")
    counting.calls.clear()
    assert reading.missing() == [last]
    assert len(counting.calls) == 1


@pytest.mark.parametrize("ranks", [1, 2, 7, 8, 5_000, (1 << BITS) - 1])
def test_a_tally_shows_whether_all_parts_are_the_same_and_cannot_overflow(ranks: int) -> None:
    parts = {Tally.part(f"{digest}", ranks) for digest in range(100)}
    assert len(parts) == 100
    most = (1 << USED - BITS - FREE - ranks.bit_length()) - 1
    assert max(parts) <= most
    assert ranks * Tally.addend(most) < 1 << USED
    one, other, *_ = sorted(parts)
    assert Tally.read(f"{ranks * Tally.addend(one)}") == Tally(came=ranks, total=ranks * one)
    mixed = Tally.read(f"{(ranks - 1) * Tally.addend(one) + Tally.addend(other)}")
    assert mixed.total not in (ranks * one, ranks * other if ranks > 1 else None)


@pytest.mark.parametrize("number", ["-1", "1e3", f"{1 << USED}", "9" * 4000])
def test_a_tally_that_cannot_be_is_refused(number: str) -> None:
    with pytest.raises(ValueError):
        Tally.read(number)


def test_a_roll_call_ends_when_all_have_answered() -> None:
    store = dist.HashStore()

    def answer(rank: int) -> list[int]:
        roll_call = RollCall(scope_of(Counting(store), rank, 4), "roll call")
        roll_call.answer()
        return roll_call.missing()

    assert as_ranks(answer, range(4)) == {rank: [] for rank in range(4)}


def test_a_roll_call_names_the_ranks_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "ROLL_CALL", 0.3)
    store = dist.HashStore()
    for rank in (0, 2):
        RollCall(scope_of(store, rank, 4), "roll call").answer()
    assert RollCall(scope_of(store, 3, 4), "roll call").missing() == [1, 3]
