"""A store that holds or answers what no rank wrote: one outcome on all ranks, and no raw error."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest
import torch.distributed as dist
from hostile_store import ERRORS, GARBAGE, Hostile, shorten
from ranks import alive, run_ranks

import pgregistry

SIZE: Final = 3
#: Calls of the store that one rank makes in an `init` that succeeds.
CALLS: Final = 7
#: Seconds for agreement and building in these tests.
PATIENCE: Final = 3
#: Cases that one set of processes tries, one after another.
BATCH: Final = 9

#: (rank, number of its call, what comes in place of the answer)
CASES: Final = [
    (rank, call, kind) for kind in (*GARBAGE, *ERRORS, "stall") for call in range(CALLS) for rank in range(SIZE)
]
#: Keys of a call of `init` among all ranks that no rank writes without reading what is there.
READ: Final = (
    "calls/1",
    *(f"{{call}}/{key}" for key in ("tally", "agreement", "outcome/count", "outcome")),
)
#: Keys that ranks read if they differ.
COMPARED: Final = tuple(
    f"{{call}}/{key}" for key in ("reference", "roster", "proposal/1", "comparison", "comparison/composing")
)
#: Keys that ranks write over, or read only if another rank has failed.
WRITTEN: Final = tuple(
    f"{{call}}/{key}"
    for key in ("roster", "addresses/0", "agreement/reason", "agreement/composing", "outcome/reason", "left")
)


class Meeting:
    """Let the ranks of a test wait for one another, over a connection of its own."""

    def __init__(self, store: Any, rank: int) -> None:
        self.store, self._rank, self._count = store.clone(), rank, 0

    def wait(self) -> None:
        self._count += 1
        self.store.set(f"{self._count}/{self._rank}", "")
        self.store.wait([f"{self._count}/{rank}" for rank in range(SIZE)], timedelta(seconds=90))

    def end(self) -> None:
        """Let rank 0, which hosts the store, end last."""
        self.store.set(f"end/{self._rank}", "")
        if self._rank == 0:
            self.store.wait([f"end/{rank}" for rank in range(SIZE)], timedelta(seconds=90))


def tcp_store() -> tuple[Any, int]:
    address, port, rank = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["RANK"])
    return dist.TCPStore(address, port, SIZE, is_master=rank == 0, timeout=timedelta(seconds=90)), rank


def attempt(meeting: Meeting, **keywords: Any) -> tuple[str, str, float]:
    """Return what `init` raises, or `context`, and the seconds; nothing of it is left."""
    begun = time.monotonic()
    try:
        context = pgregistry.init(agree_timeout=PATIENCE, build_timeout=PATIENCE, **keywords)
    except Exception as error:
        answer = type(error).__name__, str(error), time.monotonic() - begun
        meeting.wait()
    else:
        answer = "context", "", time.monotonic() - begun
        meeting.wait()
        context.__exit__(RuntimeError, None, None)  # others may have none
    assert alive() == 1
    return answer


def answered_wrongly(cases: Sequence[tuple[int, int, str]]) -> list[tuple[tuple[str, str, float], str]]:
    """Call `init` twice for each case, in which one call of one rank is answered wrongly the first time."""
    store, rank = tcp_store()
    meeting, hostile = Meeting(store, rank), Hostile(store)
    dist.init_process_group("gloo", store=hostile, rank=rank, world_size=SIZE)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        for odd, call, kind in cases:
            meeting.wait()
            if rank == odd:
                hostile.arm(call, kind)
            first = attempt(meeting)
            hostile.disarm()
            meeting.wait()
            found.append((first, attempt(meeting)[0]))
    meeting.end()
    return found


def held(key: str, kinds: Sequence[str], *, differ: bool = False) -> list[tuple[str, str, float]]:
    """Call `init` once for each kind of garbage, which stands under a key before; rank 1 may differ."""
    keywords = {"disable": ["nettest"]} if differ and os.environ["RANK"] == "1" else {}
    store, rank = tcp_store()
    meeting = Meeting(store, rank)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=SIZE)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        for number, kind in enumerate(kinds, 1):
            meeting.wait()
            name = f"0//pgregistry/all/{key.format(call=number)}"
            if rank == 0:
                meeting.store.set(name, GARBAGE[kind])
            meeting.wait()
            found.append(attempt(meeting, **keywords))
            if rank == 0 and key.startswith("calls/"):
                meeting.store.set(name, str(number))
    meeting.end()
    return found


def drawn(cases: Sequence[Any], share: float) -> list[Any]:
    """Return a seeded sample of the cases, in their order."""
    return [case for case in cases if random.Random(repr(case)).random() < share]


def not_counted(case: tuple[int, int, str]) -> bool:
    """Return whether a rank cannot know if its call of `init` was counted: it does not meet the others again."""
    _, call, kind = case
    return call == 0 and kind not in GARBAGE


def batches(share: float) -> list[Any]:
    cases = drawn(CASES, share)
    several, single = [case for case in cases if not not_counted(case)], [case for case in cases if not_counted(case)]
    return [*(several[start : start + BATCH] for start in range(0, len(several), BATCH)), *([case] for case in single)]


def check_answered_wrongly(cases: Sequence[tuple[int, int, str]]) -> None:
    answers = run_ranks(SIZE, answered_wrongly, cases, world=False, timeout=110)
    for case, of_case in zip(cases, zip(*answers, strict=True), strict=True):
        names = {name for (name, _, _), _ in of_case}
        assert names == {"context"} or names <= {"PlanMismatch", "BuildError"}, (case, of_case)
        assert max(seconds for (_, _, seconds), _ in of_case) < 30, (case, of_case)
        assert not_counted(case) or {again for _, again in of_case} == {"context"}, (case, of_case)


def check_held(key: str, kinds: Sequence[str]) -> None:
    answers = run_ranks(SIZE, held, key, kinds, world=False, timeout=110)
    for kind, of_kind in zip(kinds, zip(*answers, strict=True), strict=True):
        names = {name for name, _, _ in of_kind}
        shown = (key, kind, of_kind)
        if key in READ:
            assert names == {"PlanMismatch"}, shown
            told = [text for _, text, _ in of_kind if "The store holds what no rank wrote, in key" in text]
            assert all(f"all/{key.format(call=kinds.index(kind) + 1)}." in text for text in told), shown
            assert len(told) == SIZE, shown
        else:
            assert names in ({"context"}, {"PlanMismatch"}), shown


def test_one_call_that_is_answered_wrongly_ends_in_one_outcome() -> None:
    check_answered_wrongly(random.Random(1).sample([case for case in CASES if not not_counted(case)], 5))


@pytest.mark.slow
@pytest.mark.parametrize("cases", batches(0.1), ids=lambda cases: f"{cases[0]}")
def test_a_tenth_of_all_calls_answered_wrongly(cases: Any) -> None:
    check_answered_wrongly(cases)


@pytest.mark.soak
@pytest.mark.parametrize("cases", batches(1), ids=lambda cases: f"{cases[0]}")
def test_every_call_answered_wrongly(cases: Any) -> None:
    check_answered_wrongly(cases)


@pytest.mark.parametrize("key", ["{call}/tally"])
def test_garbage_that_stands_in_the_store_is_named_on_every_rank(key: str) -> None:
    check_held(key, drawn(list(GARBAGE), 0.3))


@pytest.mark.slow
@pytest.mark.parametrize("key", [*READ, *WRITTEN])
def test_each_kind_of_garbage_under_each_key(key: str) -> None:
    check_held(key, list(GARBAGE))


@pytest.mark.slow
@pytest.mark.parametrize("key", COMPARED)
def test_each_kind_of_garbage_under_each_key_of_ranks_that_differ(key: str) -> None:
    answers = run_ranks(SIZE, partial(held, differ=True), key, list(GARBAGE), world=False, timeout=110)
    for kind, of_kind in zip(GARBAGE, zip(*answers, strict=True), strict=True):
        assert {name for name, _, _ in of_kind} == {"PlanMismatch"}, (key, kind, of_kind)
        assert max(seconds for *_, seconds in of_kind) < 30, (key, kind, of_kind)


def test_these_are_all_calls_of_an_init_that_succeeds() -> None:
    assert run_ranks(SIZE, counted, world=False) == [CALLS] * SIZE


def counted() -> int:
    store, rank = tcp_store()
    hostile = Hostile(store)
    dist.init_process_group("gloo", store=hostile, rank=rank, world_size=SIZE)
    hostile.disarm()
    context = pgregistry.init()
    calls = len(hostile.calls)
    context.close()
    return calls
