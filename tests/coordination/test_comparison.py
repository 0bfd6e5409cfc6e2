"""The second stage of an agreement: who compares, who takes its place, and how little the others send."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting, SlowToSign
from threads import as_ranks, scope_of

import pgregistry
from pgregistry import ConfigError, PlanMismatch
from pgregistry.coordination import agreement, comparison
from pgregistry.coordination.agreement import Agreement
from pgregistry.coordination.comparison import Comparer, Comparison
from pgregistry.coordination.decision import Decision
from pgregistry.coordination.places.arrivals import Arrivals
from pgregistry.coordination.places.place import Place
from pgregistry.coordination.proposal import Proposal, propose, propose_failure
from pgregistry.coordination.roster import Tally


def proposal(world_size: int, **keywords: Any) -> Proposal:
    return propose(pgregistry.plan(world_size, **keywords), {}, {"backend": "gloo"}, {})


def disagree(size: int, odd: int) -> tuple[str, list[Counting]]:
    """Return what all ranks raise if one has another size, and the counted store of each."""
    shared = dist.HashStore()
    counted = [Counting(shared) for _ in range(size)]

    def one(rank: int) -> None:
        Agreement(scope_of(counted[rank], rank, size), proposal(size, tensor=1 + (rank == odd)), 30).reach()

    outcome = as_ranks(one, range(size))
    assert {type(one) for one in outcome.values()} == {PlanMismatch}
    (text,) = set(map(str, outcome.values()))
    return text, counted


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("odd", [0, 1, -1])
def test_a_mismatch_takes_few_calls_on_ranks_that_agree_with_the_one_that_compares(size: int, odd: int) -> None:
    text, counted = disagree(size, odd % size)
    assert "tensor = 2" in text or "2 (keyword)" in text
    calls = sorted(len(store.calls) for store in counted)
    assert calls[size // 2 - 1] <= 7  # counting, waiting, signing and waiting; and a reference if the odd one compares
    assert calls[-1] <= 20


@pytest.mark.parametrize("odd", [0, 3])
def test_only_ranks_that_differ_publish_their_proposals(odd: int) -> None:
    _, counted = disagree(8, odd)
    published = [key for store in counted for call, key in store.calls if call == "set" and "/proposal/" in key]
    assert 1 <= len(published) <= 2


@pytest.mark.parametrize("counted", ["signed", "unsigned"])
def test_a_rank_that_dies_before_it_has_compared_is_replaced(counted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in ("COMPOSE", "LEAVE", "MOMENT"):
        monkeypatch.setattr(comparison, seconds, 0.3)
    shared = dist.HashStore()
    dead, theirs = scope_of(Counting(shared), 2, 3), proposal(3, nettest=1)
    if counted == "signed":
        Arrivals(dead).sign(theirs.digest)
    dead.count("tally", Tally.addend(Tally.part(f"{theirs.digest} 0", 3)), Tally.read)
    Decision(dead, "agreement").take("compare", note=Comparer(2, theirs.digest).encode())

    def one(rank: int) -> None:
        Agreement(scope_of(Counting(shared), rank, 3), proposal(3, nettest=1 + rank), 30).reach()

    outcome = as_ranks(one, range(2))
    assert {type(error) for error in outcome.values()} == {PlanMismatch}
    (text,) = set(map(str, outcome.values()))
    assert "1 (keyword)" in text
    assert "2 (keyword)" in text


@pytest.mark.parametrize("last", [True, False])
def test_a_rank_whose_plan_was_refused_is_not_the_one_that_compares(last: bool) -> None:
    shared, refused = dist.HashStore(), propose_failure(3, ConfigError("tensor = 3 does not divide 4."))
    come = threading.Event()

    def one(rank: int) -> float:
        if rank != 1 and not last:
            come.wait(10)
        if rank == 1 and last:
            time.sleep(0.5)
        mine = Agreement(scope_of(Counting(shared), rank, 3), refused if rank == 1 else proposal(3), 30)
        if rank == 1:
            mine.reach()  # it is to raise its own error
            come.set()
            return 0
        begun = time.monotonic()
        with pytest.raises(PlanMismatch, match="rank 1: failed with ConfigError: tensor = 3"):
            mine.reach()
        return time.monotonic() - begun

    assert max(as_ranks(one, range(3)).values()) < comparison.COMPOSE


def test_a_rank_of_a_smaller_world_that_compares_waits_for_those_that_take_it_for_larger() -> None:
    """Two ranks are all that it counts, and both propose the same. The tally shows that there are more."""

    shared = dist.HashStore()

    def one(rank: int) -> None:
        time.sleep(0.2 * (rank != 2))
        size, store = (2, Counting(shared)) if rank < 2 else (4, SlowToSign(shared, 0.5))
        Agreement(scope_of(store, rank, size), replace(proposal(size), origin="WORLD_SIZE"), 30).reach()

    outcome = as_ranks(one, range(3))
    assert {type(error) for error in outcome.values()} == {PlanMismatch}
    (text,) = set(map(str, outcome.values()))
    assert text.endswith("world size:\n    ranks 0-1: 2 (WORLD_SIZE)\n    rank 2: 4 (WORLD_SIZE)")


def test_ranks_elect_one_that_compares_if_the_decision_names_none() -> None:
    """A rank whose plan was refused lets the others compare, and does not come back."""
    shared = dist.HashStore()
    dead = scope_of(Counting(shared), 0, 3)
    dead.count("tally", Tally.addend(5), Tally.read)
    Decision(dead, "agreement").take("compare")

    def one(rank: int) -> None:
        Agreement(scope_of(Counting(shared), rank, 3), proposal(3, nettest=rank), 30).reach()

    outcome = as_ranks(one, [1, 2])
    assert {type(error) for error in outcome.values()} == {PlanMismatch}
    (text,) = set(map(str, outcome.values()))
    assert "1 (keyword)" in text
    assert "2 (keyword)" in text


@pytest.mark.parametrize("note", ["x abc", "-1 abc", "1", "1 2 3", "99999999999 abc"])
def test_a_note_that_no_rank_wrote_is_refused(note: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal|is not from"):
        Comparer.decode(note)


def test_hosts_are_not_called_unequal_while_ranks_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "GRACE", 0.2)
    monkeypatch.setattr(comparison, "MOMENT", 0.2)
    shared = dist.HashStore()

    def one(rank: int) -> None:
        scope = scope_of(Counting(shared), rank, 4)
        arrivals = Arrivals(scope, lambda: Place(f"node{rank // 2}"), one_host=False)
        Agreement(scope, proposal(4, nettest=1 + rank % 2), 30, arrivals).reach()

    outcome = as_ranks(one, range(3))
    assert {type(error) for error in outcome.values()} == {PlanMismatch}
    (text,) = set(map(str, outcome.values()))
    assert "not here yet: rank 3" in text
    assert "hosts" not in text


def checked(note: str, world_size: int = 4) -> None:
    """Check a decision that all go on, taken with this note, on rank 1."""
    scope = scope_of(dist.HashStore(), 1, 4)
    decision = Decision(scope, "agreement")
    decision.take("go", 0, note)
    Comparison(scope, proposal(world_size), Arrivals(scope)).check_digest(decision)


def test_a_rank_checks_the_whole_summary_of_the_one_that_decided(caplog: pytest.LogCaptureFixture) -> None:
    mine = proposal(4)
    checked(f"0 {mine.summary}")
    other = replace(mine, plugins={"tensor": "acme 2"})
    checked(f"0 {other.summary}")  # of a plugin that this rank does not have
    assert caplog.messages == []
    with pytest.raises(PlanMismatch, match="The world size of rank 1 is 8, but that of rank 0 is 4"):
        checked(f"0 {mine.summary}", world_size=8)
    with pytest.raises(PlanMismatch, match="Rank 1 differs from rank 0, but the store holds that all agree"):
        checked(f"0 {proposal(4, tensor=2).summary}")


@pytest.mark.parametrize(
    "note", ["", "evil", "0 evil", '0 ["4", "a", {}]', '0 [4, "a", {"b": 1}]', "0 " + "[" * 100_000]
)
def test_a_summary_that_no_rank_wrote_is_a_mismatch(note: str) -> None:
    with pytest.raises(PlanMismatch, match=r"holds what no rank wrote, in key .*/agreement"):
        checked(note)
