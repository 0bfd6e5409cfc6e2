"""One plan on all ranks, or one error on all ranks: on real stores, with threads as ranks."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting, SlowToSign
from random_settings import random_settings
from threads import as_ranks, busiest, scope_of

import pgregistry
from pgregistry import ConfigError, PlanMismatch
from pgregistry.coordination import agreement
from pgregistry.coordination.agreement import Agreement
from pgregistry.coordination.places.arrivals import Arrivals
from pgregistry.coordination.places.place import Place
from pgregistry.coordination.proposal import Proposal, propose, propose_failure
from pgregistry.coordination.roster import Tally
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover


@pytest.fixture(params=["hash", "file", "tcp"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Give each rank its own way to one store."""
    if request.param == "tcp":
        server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        yield lambda: dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)
    elif request.param == "file":
        yield lambda: dist.FileStore(str(tmp_path / "store"))
    else:
        shared = dist.HashStore()
        yield lambda: Counting(shared)


def proposal(world_size: int = 4, version: str = "1", **keywords: Any) -> Proposal:
    """Return the proposal of a rank whose plan was made with these keywords."""
    return propose(pgregistry.plan(world_size, **keywords), {"tensor": version}, {"backend": "gloo"}, {})


def agree_all(
    stores: Callable[[], Any],
    proposals: dict[int, Proposal],
    *,
    late: dict[int, float] | None = None,
    last: int | None = None,
    seconds: float = 30,
    world_size: int | None = None,
) -> dict[int, Any]:
    """Return what agreement returns or raises on the ranks that have a proposal. The others never come.

    Ranks in `late` come after so many seconds; the rank `last` comes when all others are done.
    """
    size = world_size or len(proposals)
    done = threading.Semaphore(0)

    def one(rank: int) -> None:
        time.sleep((late or {}).get(rank, 0))
        for _ in range(len(proposals) - 1 if rank == last else 0):
            assert done.acquire(timeout=30)
        try:
            Agreement(scope_of(stores(), rank, size), proposals[rank], seconds).reach()
        finally:
            done.release()

    return as_ranks(one, sorted(proposals))


def texts(outcome: dict[int, Any]) -> set[str]:
    assert {type(one) for one in outcome.values()} == {PlanMismatch}
    return set(map(str, outcome.values()))


# --- agreeing -------------------------------------------------------------------------------------


def test_ranks_that_propose_the_same_agree(stores: Callable[[], Any]) -> None:
    assert agree_all(stores, {rank: proposal(tensor=2) for rank in range(4)}) == dict.fromkeys(range(4))


@pytest.mark.parametrize(
    ("in_use", "number"),
    [
        ([0b1, 0b1, 0b1, 0b1], 1),  # the same everywhere
        ([0b1, 0b101, 0b1001, 0b1], 1),  # others, but the smallest that is not in use is the same
        ([0b1, 0, 0, 0], 1),  # one rank has not closed a context that the others have
        ([0b01, 0b10, 0b100, 0], 3),
        ([0, 0, 0, 0b1011], 2),
    ],
)
def test_ranks_agree_on_the_smallest_number_that_is_in_use_on_none(
    stores: Callable[[], Any], in_use: list[int], number: int
) -> None:
    def one(rank: int) -> int:
        mine = Agreement(scope_of(stores(), rank, 4), replace(proposal(), in_use=in_use[rank]), 30)
        mine.reach()
        return mine.number

    assert as_ranks(one, range(4)) == dict.fromkeys(range(4), number)


def test_a_late_rank_is_waited_for_if_the_others_differ_in_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "GRACE", 0.3)
    shared = dist.HashStore()
    proposals = {rank: replace(proposal(), in_use=0b1 if rank == 0 else 0) for rank in range(4)}
    assert agree_all(lambda: Counting(shared), proposals, late={3: 3.5}) == dict.fromkeys(range(4))


def test_a_rank_that_is_slow_to_sign_is_waited_for_if_ranks_differ_in_numbers_alone() -> None:
    shared = dist.HashStore()

    def one(rank: int) -> int:
        store = SlowToSign(shared, 2.5) if rank == 0 else Counting(shared)
        mine = Agreement(scope_of(store, rank, 3), replace(proposal(3), in_use=rank), 30)
        mine.reach()
        return mine.number

    assert as_ranks(one, range(3)) == dict.fromkeys(range(3), 2)


def test_ranks_that_also_use_other_numbers_are_told_of_the_plan_alone(stores: Callable[[], Any]) -> None:
    proposals = {rank: replace(proposal(tensor=1 + rank // 3), in_use=rank) for rank in range(4)}
    (text,) = texts(agree_all(stores, proposals))
    assert text.endswith("size tensor:\n    ranks 0-2: 1 (keyword)\n    rank 3: 2 (keyword)")


@pytest.mark.parametrize("odd", [0, 1, 3])
def test_every_rank_raises_one_text_that_names_the_sides_and_the_difference(
    stores: Callable[[], Any], odd: int
) -> None:
    outcome = agree_all(stores, {rank: proposal(tensor=4 if rank == odd else 2) for rank in range(4)})
    most = {0: "ranks 1-3", 1: "ranks 0, 2-3", 3: "ranks 0-2"}[odd]
    text = (
        "The ranks disagree about what to build; nothing was created.\n  size tensor:\n"
        f"    {most}: 2 (keyword)\n    rank {odd}: 4 (keyword)"
    )
    assert texts(outcome) == {text}
    assert {error.ranks for error in outcome.values()} == {(odd,)}


def test_of_two_sides_one_rank_each_sends_its_whole_proposal() -> None:
    shared = dist.HashStore()
    counted = [Counting(shared) for _ in range(8)]

    def one(rank: int) -> None:
        Agreement(scope_of(counted[rank], rank, 8), proposal(8, tensor=4 if rank % 3 else 2), 30).reach()

    (text,) = texts(as_ranks(one, range(8)))
    assert text.endswith("size tensor:\n    ranks 1-2, 4-5, 7: 4 (keyword)\n    ranks 0, 3, 6: 2 (keyword)")
    assert sum("/proposal/" in key for store in counted for call, key in store.calls if call == "set") == 2


def test_all_ranks_may_differ(stores: Callable[[], Any]) -> None:
    (text,) = texts(agree_all(stores, {rank: proposal(8, tensor=2**rank) for rank in range(4)}))
    assert [text.count(f"    rank {rank}: {2**rank} (keyword)") for rank in range(4)] == [3, 1, 1, 1]


def test_one_rank_agrees_with_itself(stores: Callable[[], Any]) -> None:
    assert agree_all(stores, {0: proposal(1)}) == {0: None}


@pytest.mark.parametrize("odd", [0, 3])
def test_a_rank_whose_planning_failed_is_quoted_by_all_others(stores: Callable[[], Any], odd: int) -> None:
    wrong = propose_failure(4, ConfigError("tensor = 3 does not divide world size 4."))
    outcome = agree_all(stores, {rank: wrong if rank == odd else proposal() for rank in range(4)})
    assert outcome.pop(odd) is None  # it raises its own error
    (text,) = texts(outcome)
    assert f"    rank {odd}: failed with ConfigError: tensor = 3 does not divide world size 4." in text


def test_if_planning_failed_everywhere_each_rank_is_left_to_its_own_error(stores: Callable[[], Any]) -> None:
    outcome = agree_all(stores, {rank: propose_failure(4, ConfigError("no")) for rank in range(4)})
    assert outcome == dict.fromkeys(range(4))


def test_several_ranks_may_fail_in_different_ways(stores: Callable[[], Any]) -> None:
    proposals = {rank: propose_failure(4, ConfigError(f"no {rank}")) if rank % 2 else proposal() for rank in range(4)}
    outcome = agree_all(stores, proposals)
    assert outcome.pop(1) is outcome.pop(3) is None
    (text,) = texts(outcome)
    assert [f"rank {rank}: failed with ConfigError: no {rank}" in text for rank in (1, 3)] == [True, True]


@pytest.mark.parametrize("last", [False, True])
def test_a_rank_that_takes_the_world_for_smaller_is_told_like_all_others(last: bool) -> None:
    shared = dist.HashStore()

    def one(rank: int) -> None:
        time.sleep(0.3 * ((rank == 1) == last))
        size = 2 if rank == 1 else 4
        Agreement(scope_of(Counting(shared), rank, size), proposal(size), 60).reach()

    (text,) = texts(as_ranks(one, range(4)))
    assert "  world size:\n    rank" in text
    assert "    rank 1: 2" in text


@pytest.mark.parametrize("odd", [0, 3])
def test_ranks_with_other_world_sizes_do_not_wait_for_ranks_that_cannot_come(odd: int) -> None:
    shared = dist.HashStore()

    def one(rank: int) -> None:
        size = 8 if rank == odd else 4
        Agreement(scope_of(Counting(shared), rank, size), proposal(size), 60).reach()

    begun = time.monotonic()
    (text,) = texts(as_ranks(one, range(4)))
    assert time.monotonic() - begun < 20
    assert "  world size:\n" in text
    assert f"    rank {odd}: 8" in text
    assert "not here yet" not in text


def test_a_rank_that_comes_when_a_smaller_world_has_agreed_is_told_both_sizes() -> None:
    shared = dist.HashStore()

    def one(rank: int) -> None:
        size = 4 if rank == 2 else 2
        mine = replace(proposal(size), origin="WORLD_SIZE")
        Agreement(scope_of(Counting(shared), rank, size), mine, 30).reach()

    assert as_ranks(one, range(2)) == dict.fromkeys(range(2))
    error = as_ranks(one, [2])[2]
    assert isinstance(error, PlanMismatch)
    assert error.ranks == (2,)
    assert re.match(r"The world size of rank 2 is 4 \(WORLD_SIZE\), but that of rank [01] is 2, and", str(error))


def test_versions_of_plugins_that_differ_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    shared = dist.HashStore()
    proposals = {rank: proposal(version="2" if rank == 3 else "1") for rank in range(4)}
    late = dict.fromkeys(range(3), 0.3)  # one of them completes the tally
    assert agree_all(lambda: Counting(shared), proposals, late=late) == dict.fromkeys(range(4))
    (record,) = caplog.records
    text = r"pgregistry: plugin 'tensor' is 2 on rank 3 and 1 on rank [0-2]; the plan is the same\."
    assert re.fullmatch(text, record.getMessage())


# --- late and missing -----------------------------------------------------------------------------


@pytest.mark.parametrize("late", [3, 0])
def test_a_late_rank_is_waited_for_and_one_of_the_others_logs_its_name(
    late: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgregistry.coordination.store.scoped_store.SLICE", 0.2)
    shared = dist.HashStore()

    def one(rank: int) -> None:
        threading.current_thread().name = f"rank {rank}"
        until = time.monotonic() + 20
        while rank == late and len(caplog.records) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        Agreement(scope_of(Counting(shared), rank, 4), proposal(), 30).reach()

    with caplog.at_level(logging.INFO, "pgregistry"):
        assert as_ranks(one, range(4)) == dict.fromkeys(range(4))
    assert {record.getMessage() for record in caplog.records} == {
        f"pgregistry: waiting for rank {late} of 4 to agree on the plan"
    }
    assert len({record.threadName for record in caplog.records}) == 1
    assert len(caplog.records) >= 2


@pytest.mark.parametrize(
    ("missing", "named", "here"),
    [([3], "Rank 3", "ranks 0-2"), ([0], "Rank 0", "ranks 1-3"), ([1, 2], "Ranks 1-2", "ranks 0, 3")],
)
def test_ranks_that_never_come_are_named_by_all_others(
    stores: Callable[[], Any], missing: list[int], named: str, here: str
) -> None:
    proposals = {rank: proposal() for rank in range(4) if rank not in missing}
    outcome = agree_all(stores, proposals, seconds=1, world_size=4)
    text = (
        f"{named} of 4 did not come within 1 s; nothing was created.\n"
        f"  Present: {here}. Look for the first error in the log of {named.lower()}, or raise agree_timeout."
    )
    assert texts(outcome) == {text}
    assert {error.ranks for error in outcome.values()} == {tuple(missing)}


def test_a_difference_is_raised_before_ranks_that_are_late_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "GRACE", 0.3)
    shared = dist.HashStore()
    proposals = {rank: proposal(tensor=2 if rank == 1 else 1) for rank in range(3)}
    begun = time.monotonic()
    (text,) = texts(agree_all(lambda: Counting(shared), proposals, seconds=60, world_size=4))
    assert time.monotonic() - begun < 20
    assert text.endswith("    ranks 0, 2: 1 (keyword)\n    rank 1: 2 (keyword)\n  not here yet: rank 3")


@pytest.mark.parametrize("tensor", [1, 2])
def test_a_late_comer_raises_the_text_of_the_others(stores: Callable[[], Any], tensor: int) -> None:
    proposals = {rank: proposal(tensor=tensor if rank == 3 else 1) for rank in range(4)}
    outcome = agree_all(stores, proposals, last=3, seconds=0.8)
    (text,) = texts(outcome)
    assert text.startswith("Rank 3 of 4 did not come within 0.8 s")


def test_a_late_comer_raises_the_difference_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "GRACE", 0.3)
    shared = dist.HashStore()
    proposals = {rank: proposal(tensor=2 if rank == 1 else 1) for rank in range(4)}
    (text,) = texts(agree_all(lambda: Counting(shared), proposals, last=3, world_size=4))
    assert text.endswith("not here yet: rank 3")


def test_no_rank_agrees_after_another_has_given_up() -> None:
    """Rank 0, which completes the count, comes when rank 1 has left and rank 2 still waits."""
    shared = dist.HashStore()
    proposals = {rank: proposal(3) for rank in range(3)}
    outcome = agree_all(lambda: Counting(shared), proposals, late={0: 2, 2: 1.5}, seconds=1)
    assert {type(one) for one in outcome.values()} == {PlanMismatch}


def test_a_rank_that_stops_is_named_by_all_others() -> None:
    shared = dist.HashStore()

    def one(rank: int) -> None:
        mine = Agreement(scope_of(Counting(shared), rank, 4), proposal(), 30)
        if rank == 1:
            time.sleep(0.5)
            mine.stop(KeyboardInterrupt())
        else:
            mine.reach()

    outcome = as_ranks(one, range(3))
    assert outcome.pop(1) is None
    assert texts(outcome) == {"Rank 1 stopped while ranks compared their plans: KeyboardInterrupt: "}


@pytest.mark.parametrize("decided", ["", "go"])
def test_a_rank_that_stops_when_ranks_have_begun_to_compare_ends_that(decided: str) -> None:
    scope = scope_of(Counting(dist.HashStore()), 1, 2)
    scope.set("agreement", "compare")
    if decided:
        scope.set("comparison", decided)
    value = Agreement(scope, proposal(2), 30).stop(KeyboardInterrupt())
    assert value == (decided or "failed")  # "go": the others build already, and are to be told there


@pytest.mark.slow
def test_more_ranks_may_wait_outside_of_within_than_inside() -> None:
    shared = dist.HashStore()

    def outside(rank: int) -> None:
        scope = ScopedStore.open(Counting(shared), rank, [0], everybody=False)
        Agreement(scope, proposal(20, within=[0]), 3).watch()

    outcome = as_ranks(outside, range(1, 20))
    (text,) = texts(outcome)
    look = "Look for the first error in the log of rank 0, or raise agree_timeout."
    assert text == f"Rank 0 of 1 did not come within 3 s; nothing was created.\n  {look}"


def test_a_store_that_goes_away_is_a_mismatch_too() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    servers, port = [server], server.port
    del server

    def one(rank: int) -> None:
        if rank == 0:
            time.sleep(1)
            servers.clear()
            return
        client = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
        Agreement(scope_of(client, rank, 4), proposal(), 60).reach()

    outcome = as_ranks(one, range(4))
    assert outcome.pop(0) is None
    for rank, error in outcome.items():
        assert isinstance(error, PlanMismatch)
        assert f"Rank {rank}: rank 0, which hosts the store, is gone before all ranks agreed" in str(error)


@pytest.mark.slow
def test_what_differs_is_shown_also_if_the_first_rank_of_a_side_died() -> None:
    shared = dist.HashStore()
    dead, mine = scope_of(Counting(shared), 0, 4), proposal(tensor=2)
    Arrivals(dead).sign(mine.digest)
    dead.count("tally", Tally.addend(Tally.part(f"{mine.digest} 0", 4)), int)

    def one(rank: int) -> None:
        Agreement(scope_of(Counting(shared), rank, 4), proposal(tensor=4) if rank == 3 else mine, 30).reach()

    (text,) = texts(as_ranks(one, range(1, 4)))
    assert text.endswith("size tensor:\n    ranks 0-2: 2 (keyword)\n    rank 3: 4 (keyword)")


# --- how many calls -------------------------------------------------------------------------------


def test_agreement_takes_three_calls_a_rank_however_many_ranks_there_are() -> None:
    calls = {}
    for size in (4, 8, 16, 32):
        mine = proposal(size, tensor=2)
        calls[size] = busiest(
            size, lambda store, rank, size=size, mine=mine: Agreement(scope_of(store, rank, size), mine, 60).reach()
        )
    assert calls == dict.fromkeys(calls, 3)


def calls_with(*in_use: int) -> list[int]:
    """Return how many calls the ranks make that have these numbers in use."""
    shared = dist.HashStore()
    counted = [Counting(shared) for _ in in_use]

    def one(rank: int) -> None:
        Agreement(scope_of(counted[rank], rank, len(in_use)), replace(proposal(), in_use=in_use[rank]), 60).reach()

    assert set(as_ranks(one, range(len(in_use))).values()) == {None}
    return [len(store.calls) for store in counted]


def test_ranks_compare_only_if_the_smallest_number_not_in_use_differs() -> None:
    assert calls_with(0b1, 0b1, 0b101, 0b1) == [3, 3, 3, 3]
    assert all(3 < calls <= 16 for calls in calls_with(0b1, 0b1, 0b101, 0))


def test_ranks_that_must_show_where_they_are_make_one_call_more() -> None:
    def one(rank: int) -> int:
        counted = Counting(shared)
        scope = scope_of(counted, rank, 4)
        Agreement(scope, proposal(), 60, Arrivals(scope, lambda: Place("host"), one_host=False)).reach()
        return len(counted.calls)

    shared = dist.HashStore()
    assert as_ranks(one, range(4)) == dict.fromkeys(range(4), 4)


def refused(store: Counting, rank: int, size: int, kind: str) -> None:
    """Take part in an agreement that is refused, and leave it as the host of the store does."""
    proposals = {"differ": proposal(size, tensor=2 if rank == 1 else 1), "missing": proposal(size)}
    mine = Agreement(scope_of(store, rank, size), proposals[kind], 2)
    if kind == "missing" and rank == 1:
        return
    with pytest.raises(PlanMismatch):
        mine.reach()
    mine.leave(hosts=rank == 0)


@pytest.mark.parametrize("kind", ["differ", pytest.param("missing", marks=pytest.mark.slow)])
def test_a_refusal_takes_as_many_calls_a_rank_with_32_ranks_as_with_8(kind: str) -> None:
    """12 to 20 if all ranks come at once; on a busy machine one rank also looks for `NOTES` of those that do not."""
    for size in (8, 32):
        calls = busiest(size, lambda store, rank, size=size: refused(store, rank, size, kind))
        assert calls <= 30, size


# --- plans that are the same are never refused ----------------------------------------------------


def proposed_elsewhere(chance: random.Random, settings: dict[str, Any]) -> Proposal:
    """Return the proposal of the same plan by another user, with other origins, discovery order and versions."""
    keywords, found = dict(settings), discover()
    in_environment = [key for key, value in keywords.items() if isinstance(value, int) and chance.random() < 0.3]
    environ = {"PGREGISTRY": " ".join(f"{key}={keywords.pop(key)}" for key in in_environment)}
    planner = Planner.read(8, keywords, environ=environ, installed=tuple(chance.sample(found, len(found))))
    versions = {plugin.name: f"{chance.randint(1, 2)}" for plugin in planner.registry.active}
    return propose(planner.plan(), versions, {"backend": "gloo"}, {})


@pytest.mark.parametrize("plans", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_plans_are_agreed_on_without_one_false_refusal(plans: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)  # versions differ, which is a warning
    shared = dist.HashStore()
    digests: list[set[str]] = [set() for _ in range(plans)]

    def one(rank: int) -> None:
        mine = Counting(shared)
        for seed in range(plans):
            settings = random_settings(random.Random(seed), 8)
            proposed = proposed_elsewhere(random.Random(seed * 4 + rank), settings)
            digests[seed].add(proposed.digest)
            Agreement(scope_of(mine, rank, 4), proposed, 60).reach()

    assert as_ranks(one, range(4)) == dict.fromkeys(range(4))
    assert {len(one) for one in digests} == {1}
    assert len(set.union(*digests)) > plans // 2  # they are not all one plan
