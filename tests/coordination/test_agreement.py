"""One plan on all ranks, or an error on all ranks: on real stores, with threads or processes as ranks."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting
from pgregistry.coordination.within_conflicts import Crossing
from random_settings import random_settings
from ranks import alive, run_ranks

import pgregistry
from pgregistry import ConfigError, PlanMismatch
from pgregistry.building.watchdog import confirm
from pgregistry.coordination import agreement as agree
from pgregistry.coordination import store as board
from pgregistry.coordination.proposal import Statement, failed, state
from pgregistry.coordination.store import Board
from pgregistry.errors import format_ranks
from pgregistry.planning.planner import make
from pgregistry.registry.discovery import discover


@pytest.fixture(params=["hash", "file", "tcp"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Gives each rank its own way to one store."""
    if request.param == "tcp":
        server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        yield lambda: dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)
    elif request.param == "file":
        yield lambda: dist.FileStore(str(tmp_path / "store"))
    else:
        store = dist.HashStore()
        yield lambda: Counting(store)


def says(world_size: int = 4, version: str = "1", **keywords: Any) -> Statement:
    """What a rank says whose plan was made with these keywords."""
    return state(pgregistry.plan(world_size, **keywords), {"tensor": version}, {"backend": "gloo"}, {})


def as_ranks(function: Callable[[int], Any], ranks: Sequence[int]) -> dict[int, Any]:
    """What a function returns or raises on each rank, in threads."""
    outcome: dict[int, Any] = {}

    def run(rank: int) -> None:
        try:
            outcome[rank] = function(rank)
        except Exception as error:
            outcome[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcome) == sorted(ranks), "a rank hangs"
    return outcome


def agree_all(
    stores: Callable[[], Any],
    statements: dict[int, Statement],
    *,
    late: dict[int, float] | None = None,
    seconds: float = 30,
    world_size: int | None = None,
) -> dict[int, Any]:
    """What `agree` returns or raises on the ranks that have a statement; others never come."""
    size = world_size or len(statements)

    def one(rank: int) -> None:
        time.sleep((late or {}).get(rank, 0))
        agree.agree(Board(stores(), rank, range(size), everybody=True), statements[rank], seconds)

    return as_ranks(one, sorted(statements))


def texts(outcome: dict[int, Any]) -> set[str]:
    assert {type(one) for one in outcome.values()} == {PlanMismatch}
    return set(map(str, outcome.values()))


# --- agreeing -------------------------------------------------------------------------------------


def test_ranks_that_say_the_same_agree(stores: Callable[[], Any]) -> None:
    assert agree_all(stores, {rank: says(tensor=2) for rank in range(4)}) == dict.fromkeys(range(4))


@pytest.mark.parametrize("odd", [0, 1, 3])
def test_every_rank_hears_who_differs_and_in_what(stores: Callable[[], Any], odd: int) -> None:
    outcome = agree_all(stores, {rank: says(tensor=4 if rank == odd else 2) for rank in range(4)})
    most = {0: "ranks 1-3", 1: "ranks 0, 2-3", 3: "ranks 0-2"}[odd]
    said = (
        "The ranks disagree about what to build; nothing was created.\n  size tensor:\n"
        f"    {most}: 2 (keyword)\n    rank {odd}: 4 (keyword)"
    )
    assert texts(outcome) == {said}


def test_all_ranks_may_differ(stores: Callable[[], Any]) -> None:
    (said,) = texts(agree_all(stores, {rank: says(8, tensor=2**rank) for rank in range(4)}))
    assert [said.count(f"    rank {rank}: {2**rank} (keyword)") for rank in range(4)] == [3, 1, 1, 1]


def test_one_rank_agrees_with_itself(stores: Callable[[], Any]) -> None:
    assert agree_all(stores, {0: says(1)}) == {0: None}


@pytest.mark.parametrize("odd", [0, 3])
def test_a_rank_whose_plan_failed_is_quoted_by_all_others(stores: Callable[[], Any], odd: int) -> None:
    wrong = failed(4, ConfigError("tensor = 3 does not divide world size 4."))
    outcome = agree_all(stores, {rank: wrong if rank == odd else says() for rank in range(4)})
    assert outcome.pop(odd) is None  # it raises its own error
    (said,) = texts(outcome)
    assert f"    rank {odd}: failed with ConfigError: tensor = 3 does not divide world size 4." in said


def test_where_all_plans_failed_each_rank_is_left_to_its_own_error(stores: Callable[[], Any]) -> None:
    outcome = agree_all(stores, {rank: failed(4, ConfigError("no")) for rank in range(4)})
    assert outcome == dict.fromkeys(range(4))


@pytest.mark.parametrize("odd", [0, 3])
def test_ranks_that_were_told_other_world_sizes_do_not_wait_for_ranks_that_cannot_come(odd: int) -> None:
    store = dist.HashStore()

    def one(rank: int) -> None:
        size = 8 if rank == odd else 4
        agree.agree(Board(Counting(store), rank, range(size), everybody=True), says(size), 60)

    begun = time.monotonic()
    (said,) = texts(as_ranks(one, range(4)))
    assert time.monotonic() - begun < 20
    assert "  world size:\n" in said
    assert f"    rank {odd}: 8" in said
    assert "not here yet" not in said


def test_versions_of_plugins_that_differ_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    store = dist.HashStore()
    statements = {rank: says(version="2" if rank == 3 else "1") for rank in range(4)}
    assert agree_all(lambda: Counting(store), statements, late={3: 0.3}) == dict.fromkeys(range(4))
    assert [record.getMessage() for record in caplog.records] == [
        "pgregistry: plugin 'tensor' is 2 on rank 3 and 1 on another; the plan is the same."
    ]


# --- late and absent --------------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "teller"), [(3, 0), (0, 1)])
def test_a_late_rank_is_waited_for_and_named_by_the_lowest_rank_that_is_there(
    late: int, teller: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "SLICE", 0.5)
    store = dist.HashStore()

    def one(rank: int) -> None:
        threading.current_thread().name = f"rank {rank}"
        time.sleep(2.4 if rank == late else 0)
        agree.agree(Board(Counting(store), rank, range(4), everybody=True), says(), 30)

    with caplog.at_level(logging.INFO, "pgregistry"):
        assert as_ranks(one, range(4)) == dict.fromkeys(range(4))
    assert {record.getMessage() for record in caplog.records} == {
        f"pgregistry: waiting for rank {late} of 4 to agree on the plan"
    }
    assert {record.threadName for record in caplog.records} == {f"rank {teller}"}
    assert len(caplog.records) >= 2


def test_waiting_is_logged_every_five_seconds() -> None:
    assert board.SLICE == 5


@pytest.mark.parametrize(
    ("absent", "named", "here"),
    [([3], "Rank 3", "ranks 0-2"), ([0], "Rank 0", "ranks 1-3"), ([1, 2], "Ranks 1-2", "ranks 0, 3")],
)
def test_ranks_that_never_come_are_named_by_all_others(
    stores: Callable[[], Any], absent: list[int], named: str, here: str
) -> None:
    statements = {rank: says() for rank in range(4) if rank not in absent}
    outcome = agree_all(stores, statements, seconds=1, world_size=4)
    (said,) = texts(outcome)
    assert said == (
        f"{named} of 4 did not come within 1 s; nothing was created.\n"
        f"  Here were {here}. Look for the first error in the log of {named.lower()}, or raise agree_timeout."
    )


def agree_within(lists: Mapping[int, Sequence[Sequence[int]]], size: int, late: Mapping[int, float]) -> dict[int, Any]:
    """What `agree` returns or raises on ranks that call it once for each of their lists."""
    store = dist.HashStore()

    def one(rank: int) -> None:
        for ranks in lists[rank]:
            time.sleep(late.get(rank, 0))
            mine = Board(Counting(store), rank, ranks, everybody=len(ranks) == size)
            agree.agree(mine, says(size, within=None if mine.everybody else ranks), 60)

    return as_ranks(one, sorted(lists))


@pytest.mark.parametrize(
    ("odd", "says_so"), [([0, 3], "ranks 0, 3"), ([0, 1, 2, 3, 4, 5], "all ranks"), ([2, 3, 4], "ranks 2-4")]
)
def test_ranks_that_wait_for_one_another_with_other_lists_of_within_are_told(
    odd: list[int], says_so: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "SLICE", 0.3)
    begun = time.monotonic()
    outcome = agree_within({**{rank: [[0, 1, 2, 3]] for rank in range(3)}, 3: [odd]}, 6, {})
    assert time.monotonic() - begun < 30
    head = "The ranks disagree about what to build; nothing was created.\n  within:\n"
    most, one = "ranks 0-3", f"    rank 3: {says_so}"
    assert texts(outcome) <= {
        f"{head}    ranks 0-2: {most}\n{one}",
        *(
            f"{head}{one}\n    {format_ranks(waiting)}: {most}"
            for waiting in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])
        ),
    }


def test_ranks_that_call_init_another_number_of_times_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "SLICE", 0.3)
    store = dist.HashStore()
    Board(store, 1, range(2), everybody=True)  # rank 1 alone, and then it is lost

    def one(rank: int) -> None:
        agree.agree(Board(Counting(store), rank, range(2), everybody=True), says(2), 60)

    for rank, error in as_ranks(one, range(2)).items():
        assert isinstance(error, PlanMismatch)
        assert f"    rank {rank}: all ranks, call {rank + 1} of init\n" in f"{error}\n"


def test_a_rank_that_waits_elsewhere_for_a_late_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "SLICE", 0.2)
    lists = {0: [[0, 1]], 1: [[1, 2], [0, 1]], 2: [[1, 2]]}
    assert agree_within(lists, 4, {2: 2}) == dict.fromkeys(range(3))


def test_nothing_is_left_of_a_wait_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "SLICE", 0.2)
    store = dist.HashStore()

    def one(rank: int) -> None:
        # Rank 1 waits long for rank 2 in the first list, and rank 0 long for rank 1 in the second.
        for ranks, pause in ([0, 1, 2], {2: 1.5}), ([0, 1], {1: 1.5}):
            if rank in ranks:
                time.sleep(pause.get(rank, 0))
                agree.agree(Board(Counting(store), rank, ranks, everybody=False), says(4, within=ranks), 60)

    assert as_ranks(one, range(3)) == dict.fromkeys(range(3))


def test_what_a_rank_says_only_once_is_not_held_against_it() -> None:
    store = dist.HashStore()
    mine, other = Board(store, 0, [0, 1], everybody=False), Board(store, 1, [0, 1, 2], everybody=False)
    here, there = Crossing(mine), Crossing(other)
    there.say()
    assert here.find([1]) == ("", [])
    there.end()
    assert here.find([1]) == ("", [])
    Crossing(other).say()
    assert here.find([1]) == ("", [])
    text, names = here.find([1])
    assert text.endswith("  within:\n    rank 0: ranks 0-1\n    rank 1: ranks 0-2")
    assert names == [other.name]


def interrupted_while_one_is_absent() -> str:
    rank = dist.get_rank()
    if rank == 2:
        time.sleep(8)
        return ""
    if rank == 1:
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        pgregistry.init(agree_timeout=60)
    except (PlanMismatch, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_ranks_that_wait_hear_that_another_was_interrupted() -> None:
    begun = time.monotonic()
    zero, one, _ = run_ranks(3, interrupted_while_one_is_absent)
    assert time.monotonic() - begun < 30
    assert zero.startswith("PlanMismatch: Rank 1 stopped while ranks compared their plans: KeyboardInterrupt")
    assert one == "KeyboardInterrupt: "


def test_a_difference_is_told_before_ranks_that_are_late_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agree, "GRACE", 0.3)
    store = dist.HashStore()
    statements = {rank: says(tensor=2 if rank == 1 else 1) for rank in range(3)}
    begun = time.monotonic()
    (said,) = texts(agree_all(lambda: Counting(store), statements, seconds=60, world_size=4))
    assert time.monotonic() - begun < 20
    assert said.endswith("    ranks 0, 2: 1 (keyword)\n    rank 1: 2 (keyword)\n  not here yet: rank 3")


def test_a_rank_that_comes_after_the_others_gave_up_hears_that(stores: Callable[[], Any]) -> None:
    outcome = agree_all(stores, {rank: says() for rank in range(4)}, late={3: 2}, seconds=0.8)
    assert "Rank 3 of 4 did not come within 0.8 s" in str(outcome[0])
    assert isinstance(outcome[3], PlanMismatch)
    assert "Ranks  of" not in str(outcome[3])  # which names nobody
    assert "rank 3" in str(outcome[3]).lower()


def test_no_rank_agrees_after_another_has_given_up() -> None:
    """Rank 0, which gives the word, comes when rank 1 has left and rank 2 still waits."""
    store = dist.HashStore()
    outcome = agree_all(lambda: Counting(store), {rank: says(3) for rank in range(3)}, late={0: 2, 2: 1.5}, seconds=1)
    assert {type(one) for one in outcome.values()} == {PlanMismatch}


def test_a_store_that_goes_away_is_a_mismatch_too() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    servers, port = [server], server.port
    del server

    def one(rank: int) -> None:
        if rank == 0:
            time.sleep(1)
            servers.clear()
            return
        store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
        agree.agree(Board(store, rank, range(4), everybody=True), says(), 60)

    outcome = as_ranks(one, range(4))
    assert outcome.pop(0) is None
    for rank, error in outcome.items():
        assert isinstance(error, PlanMismatch)
        assert f"Rank {rank}: rank 0, which hosts the store, is gone before all ranks agreed" in str(error)


# --- how many calls -------------------------------------------------------------------------------


def counted(size: int, function: Callable[[Counting, int], Any]) -> int:
    """The most store calls that a rank makes in a function."""
    store = dist.HashStore()
    counting = {rank: Counting(store) for rank in range(size)}
    outcome = as_ranks(lambda rank: function(counting[rank], rank), range(size))
    assert outcome == dict.fromkeys(range(size))
    return max(len(one.calls) for one in counting.values())


def test_agreement_takes_at_most_five_calls_a_rank_however_many_ranks_there_are() -> None:
    def one(store: Counting, rank: int) -> None:
        agree.agree(Board(store, rank, range(size), everybody=True), mine, 60)

    calls = {}
    for size in (4, 8, 16, 32):
        mine = says(size, tensor=2)
        calls[size] = counted(size, one)
    assert max(calls.values()) <= 5
    assert len(set(calls.values())) == 1, calls


def test_the_confirmation_takes_at_most_two_calls_a_rank() -> None:
    def one(store: Counting, rank: int) -> None:
        here = Board(store, rank, range(size), everybody=True)
        store.calls.clear()
        confirm(here, 60, "last")

    for size in (1, 4, 32):
        assert counted(size, one) <= 2


def calls_by_purpose(folder: str, sizes: dict[str, Any]) -> dict[str, list[str]]:
    import os

    from pgregistry.runtime.verify import prove

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = Counting(dist.FileStore(f"{folder}/counted", size))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    dist.barrier()
    store.calls.clear()
    context = pgregistry.init(**sizes)
    calls = list(store.calls)
    list(prove(context))
    purposes: dict[str, list[str]] = {"creation": [], "confirmation": [], "agreement": []}
    for call, key in calls:
        building = "/groups/" in key or "/addresses/" in key or call == "check"
        purpose = "creation" if building else "confirmation" if "count/" in key or "done" in key else "agreement"
        purposes[purpose].append(call)
    return purposes


@pytest.mark.parametrize("size", [4, 8])
def test_the_creation_of_all_process_groups_takes_at_most_two_calls_a_rank(size: int, tmp_path: Path) -> None:
    sizes = {"tensor": 2, "pipe": 2, "zero1": {"dedicated": True}, "nettest": 3}
    for calls in run_ranks(size, calls_by_purpose, str(tmp_path), sizes, world=False):
        assert len(calls["agreement"]) <= 5, calls
        assert calls["creation"] == ["set", "multi_get"], calls
        assert len(calls["confirmation"]) <= 2, calls


# --- plans that are the same are never refused ------------------------------------------------------


def told_otherwise(chance: random.Random, settings: dict[str, Any]) -> Statement:
    """The same plan, said by another user on another machine: other origins, discovery order, versions."""
    keywords, found = dict(settings), discover()
    in_environment = [key for key, value in keywords.items() if isinstance(value, int) and chance.random() < 0.3]
    environ = {"PGREGISTRY": " ".join(f"{key}={keywords.pop(key)}" for key in in_environment)}
    made = make(8, keywords, environ=environ, found=tuple(chance.sample(found, len(found))))
    versions = {plugin.name: f"{chance.randint(1, 2)}" for plugin in made.registry.active}
    return state(made.plan, versions, {"backend": "gloo"}, {})


def test_a_thousand_random_plans_are_agreed_on_without_one_false_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)  # versions differ, which is a warning
    plans = 1000
    store = dist.HashStore()
    digests: list[set[str]] = [set() for _ in range(plans)]

    def one(rank: int) -> None:
        mine = Counting(store)
        for seed in range(plans):
            settings = random_settings(random.Random(seed), 8)
            statement = told_otherwise(random.Random(seed * 4 + rank), settings)
            digests[seed].add(statement.digest)
            agree.agree(Board(mine, rank, range(4), everybody=True), statement, 60)

    assert as_ranks(one, range(4)) == dict.fromkeys(range(4))
    assert {len(one) for one in digests} == {1}
    assert len(set.union(*digests)) > plans // 2  # they are not all one plan


# --- each `init` has keys of its own --------------------------------------------------------------


def test_each_call_has_keys_of_its_own_and_all_ranks_find_the_same() -> None:
    store = dist.HashStore()
    names = [
        [Board(store, rank, ranks, everybody=len(ranks) == 4).name for rank in ranks]
        for ranks in (range(4), range(4), [0, 1], [2, 3], [0, 1], [1, 0], range(4))
    ]
    assert all(len(set(each)) == 1 for each in names)
    assert len({each[0] for each in names}) == len(names)


def again_and_at_once() -> list[Any]:
    from pgregistry.runtime.verify import prove

    proved: list[Any] = []
    for sizes in ({"tensor": 2}, {"tensor": 2}, {"pipe": 4}):
        with pgregistry.init(**sizes) as context:
            proved.append(list(prove(context)) == list(context.plan.modes))
    with pgregistry.init(tensor=2) as one, pgregistry.init(pipe=2, only=["pipe", "tensor"]) as other:
        proved += [list(prove(other)), list(prove(one)) == list(one.plan.modes), one["tensor"].ranks, other.plan.modes]
    return proved


@pytest.mark.parametrize("world", [True, False])
def test_inits_in_a_row_and_contexts_at_once_do_not_meet_each_others_keys(world: bool) -> None:
    modes = ["pipe", "tensor"]
    for rank, answer in enumerate(run_ranks(4, again_and_at_once, world=world)):
        assert answer == [True] * 3 + [modes, True, (rank // 2 * 2, rank // 2 * 2 + 1), tuple(modes)]


def inside_the_world_of_another() -> list[bool]:
    """The first context started the world; the second and the third live in it, one within some ranks."""
    from pgregistry.runtime.verify import prove

    rank = int(os.environ["RANK"])
    half = [0, 1] if rank < 2 else [2, 3]
    with (
        pgregistry.init(tensor=2) as one,
        pgregistry.init(pipe=2) as two,
        pgregistry.init(within=half) as three,
        pgregistry.init(within=half) as four,
    ):
        return [list(prove(context)) == list(context.plan.modes) for context in (four, three, two, one)]


def test_contexts_live_at_once_in_a_world_that_the_first_one_started() -> None:
    assert run_ranks(4, inside_the_world_of_another, world=False) == [[True] * 4] * 4


def worlds_in_a_row() -> list[bool]:
    from pgregistry.runtime.verify import prove

    answers = []
    for sizes in ({"tensor": 2}, {"tensor": 2}, {"pipe": 4}):
        with pgregistry.init(**sizes) as context:
            answers.append(list(prove(context)) == list(context.plan.modes))
        answers.append(not dist.is_initialized())
    return answers


def test_worlds_in_a_row_do_not_meet_each_others_keys() -> None:
    assert run_ranks(4, worlds_in_a_row, world=False) == [[True] * 6] * 4


def test_a_mismatch_is_followed_by_an_init_that_works() -> None:
    assert run_ranks(4, refused_then_right) == [True] * 4


def refused_then_right() -> bool:
    from pgregistry.runtime.verify import prove

    for _ in range(2):
        with pytest.raises(PlanMismatch, match="size tensor"):
            pgregistry.init(tensor=4 if dist.get_rank() == 2 else 2)
        with pytest.raises((PlanMismatch, ConfigError), match="tensor = 3"):
            pgregistry.init(tensor=3 if dist.get_rank() == 1 else 2)
    with pgregistry.init(tensor=2) as context:
        return list(prove(context)) == list(context.plan.modes)


def halves() -> Any:
    from pgregistry.runtime.verify import prove

    rank = dist.get_rank()
    mine = range(2) if rank < 2 else range(2, 6)
    sizes = {"tensor": 2} if rank < 2 else {"pipe": 2, "tensor": 2}
    before = alive()
    with pgregistry.init(within=mine, **sizes) as context:
        good = list(prove(context)) == list(context.plan.modes)
        found = context.plan.sizes["pipe"], context["tensor"].ranks
    return good, *found, alive() == before


def test_disjoint_parts_of_a_world_agree_on_different_plans_at_the_same_time() -> None:
    answers = run_ranks(6, halves)
    assert answers[:2] == [(True, 1, (0, 1), True)] * 2
    assert answers[2:] == [(True, 2, (2, 3), True)] * 2 + [(True, 2, (4, 5), True)] * 2


def with_two_lists() -> str:
    """Ranks 0 to 3 should be one part, but rank 3 says something else; ranks 4 and 5 are another part."""
    board.SLICE = 0.5  # type: ignore[misc]
    within = {3: [0, 3], 4: [4, 5], 5: [4, 5]}.get(dist.get_rank(), [0, 1, 2, 3])
    try:
        pgregistry.init(within=within).close()
    except PlanMismatch as error:
        return str(error)
    return ""


def test_an_init_with_another_list_of_within_is_refused_on_all_its_ranks() -> None:
    answers = run_ranks(6, with_two_lists)
    assert all("  within:\n" in one for one in answers[:4])
    assert answers[4:] == ["", ""]


def one_half_is_wrong() -> Any:
    rank = dist.get_rank()
    if rank < 2:
        with pytest.raises(PlanMismatch, match="rank 1: 2"):
            pgregistry.init(within=[0, 1], tensor=1 + rank)
        return "refused"
    with pgregistry.init(within=[2, 3], tensor=2) as context:
        return context["tensor"].ranks


def test_a_difference_in_one_part_of_a_world_is_none_of_the_others_business() -> None:
    assert run_ranks(4, one_half_is_wrong) == ["refused"] * 2 + [(2, 3)] * 2


def a_plan_that_fails_in_one_half() -> list[Any]:
    """The ranks of a half look for one another there, also for one that has no plan; then all go on together."""
    from pgregistry.runtime.verify import prove

    rank, answers = dist.get_rank(), list[Any]()
    half = [0, 1] if rank < 2 else [2, 3]
    for tensor in (3 if rank == 1 else 2, 2):
        try:
            with pgregistry.init(within=iter(half), tensor=tensor, agree_timeout=30) as context:
                answers.append(context["tensor"].ranks)
        except (PlanMismatch, ConfigError) as error:
            answers.append(f"{type(error).__name__}: {error}".splitlines()[0])
    with pgregistry.init(agree_timeout=30) as context:
        return [*answers, list(prove(context)) == list(context.plan.modes)]


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


def test_an_error_that_nobody_expects_is_told_to_all_too() -> None:
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
        except (KeyboardInterrupt, pgregistry.BuildError) as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers


def test_a_rank_that_is_interrupted_while_it_waits_is_no_longer_waited_for() -> None:
    said = "BuildError: Rank 0 failed while process groups were built: KeyboardInterrupt: "
    assert run_ranks(3, interrupted) == [["KeyboardInterrupt: ", "built"], [said, "built"], [said, "built"]]
