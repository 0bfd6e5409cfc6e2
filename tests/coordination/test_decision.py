"""Decisions: the first value and the first reason hold, one rank composes, and is replaced if it dies."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
import torch.distributed as dist
from threads import as_ranks, scope_of

from pgregistry import BuildError, PlanMismatch
from pgregistry.coordination import decision
from pgregistry.coordination.decision import Decision, Reason


def of_ranks(size: int) -> list[Decision]:
    """Return one decision as each rank sees it."""
    store = dist.HashStore()
    return [Decision(scope_of(store, rank, size), "plan") for rank in range(size)]


def test_the_first_value_holds() -> None:
    first, second = of_ranks(2)
    assert first.taken() is None
    assert [first.take("go"), second.take("missing"), second.taken()] == ["go"] * 3


def test_a_failure_brings_its_reason() -> None:
    first, second = of_ranks(2)
    reason = Reason("Rank 0 has no disk.", (0,))
    assert first.fail(reason) == "failed"
    assert second.reason("failed", lambda: pytest.fail("it is there already")) == reason


def test_of_two_reasons_the_first_holds() -> None:
    first, second = of_ranks(2)
    first.fail(Reason("first"))
    second.fail(Reason("second"))
    assert second.reason("failed", lambda: Reason("third")).text == "first"


def test_one_rank_composes_the_reason_and_all_raise_it() -> None:
    decisions, composed = of_ranks(8), list[int]()

    def reason(rank: int) -> Reason:
        def compose() -> Reason:
            composed.append(rank)
            time.sleep(0.2)
            return Reason(f"composed by {rank}")

        return decisions[rank].reason("missing", compose)

    outcome = as_ranks(reason, range(8))
    assert len(composed) == 1
    assert set(outcome.values()) == {Reason(f"composed by {composed[0]}")}


def test_a_rank_that_may_not_compose_does_only_if_no_other_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "COMPOSE", 0.3)
    first, second = of_ranks(2)
    begun = time.monotonic()
    assert first.reason("missing", lambda: Reason("late"), elect=False).text == "late"
    assert time.monotonic() - begun >= 0.3
    assert second.reason("missing", lambda: Reason("mine")).text == "late"


def test_one_rank_replaces_another_that_died_while_it_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "COMPOSE", 0.5)
    decisions, composed = of_ranks(8), list[int]()

    def reason(rank: int) -> Reason | None:
        def compose() -> Reason:
            composed.append(rank)
            if len(composed) == 1:
                raise KeyboardInterrupt
            time.sleep(0.2)
            return Reason("composed")

        with suppress(KeyboardInterrupt):
            return decisions[rank].reason("missing", compose)
        return None

    outcome = as_ranks(reason, range(8))
    assert len(composed) == 2
    assert [one for one in outcome.values() if one] == [Reason("composed")] * 7


def test_if_all_that_compose_die_each_rank_composes_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "COMPOSE", 0.1)
    store = dist.HashStore()
    scope = scope_of(store, 0, 4)
    for key in decision.composers_of_decision("plan"):
        scope.count(key, 1, int)
    assert Decision(scope, "plan").reason("missing", lambda: Reason("mine")).text == "mine"


def test_a_value_comes_with_the_number_and_the_note_of_the_rank_that_took_it() -> None:
    first, second, third = of_ranks(3)
    first.take("go", 0, "a note")
    assert (second.take("go", 3, "another"), second.number, second.note(str)) == ("go", 0, "a note")
    assert (third.taken(), third.number, third.note(str)) == ("go", 0, "a note")


def test_one_rank_is_elected_and_another_takes_its_place_if_it_dies() -> None:
    decisions, elected = of_ranks(8), list[int]()

    def take(rank: int) -> Any:
        elected.append(rank)
        if len(elected) == 1:
            raise KeyboardInterrupt
        return decisions[rank].take("go", 1 + rank)

    def elect(rank: int) -> int:
        with suppress(KeyboardInterrupt):
            assert decisions[rank].elect(lambda: take(rank), 0.5) == "go"
        return decisions[rank].number

    outcome = as_ranks(elect, range(8))
    dead, taken = elected
    assert outcome == {rank: 0 if rank == dead else 1 + taken for rank in range(8)}


@pytest.mark.parametrize("mismatch", [True, False])
def test_a_reason_becomes_the_error_that_it_came_from(mismatch: bool) -> None:
    error = (PlanMismatch if mismatch else BuildError)("Rank 3 is late.", ranks=[3])
    raised = Reason.decode(Reason.of(error).encode()).error()
    assert (type(raised), str(raised), raised.ranks) == (type(error), "Rank 3 is late.", (3,))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("plan", "evil"),
        ("plan", "failed 0 evil"),
        ("plan", "failed 0 " + "[" * 100_000),
        ("plan/reason", "evil"),
        ("plan/reason", "[1, [], 0]"),
        ("plan/reason", "[" * 100_000),
    ],
)
def test_what_no_rank_wrote_is_a_mismatch_with_its_key(key: str, text: str) -> None:
    store = dist.HashStore()
    scope = scope_of(store, 0, 1)
    scope.set(key, text)
    value = "failed" if text.startswith("failed") else "missing"
    one: Any = Decision(scope, "plan")
    ask = one.taken if text == "evil" and key == "plan" else lambda: one.reason(value, lambda: Reason(""))
    with pytest.raises(PlanMismatch, match=f"holds what no rank wrote, in key {scope.name}/{key}"):
        ask()
