"""The watch of a context: when there is one, how long it waits, and that nothing of it is left."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from typing import Any

import needs
import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks
from stuck_ranks import named

import pgregistry
from pgregistry.coordination.abandonable import AbandonableThread
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.diagnosis.watch.watch import Watch

pytestmark = needs.RECORDS


class Heard(logging.Handler):
    """The lines of the logger of the watch."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        logger = logging.getLogger("pgregistry.watch")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def wait(self, begin: str) -> str:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if found := [line for line in self.lines if line.startswith(begin)]:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(f"nothing begins with {begin!r}: {self.lines}")


def watching() -> int:
    return sum(thread.name == "pgregistry" for thread in threading.enumerate())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def lives_of_watches() -> dict[str, Any]:
    heard, found = Heard(), {}
    with pgregistry.init(watch=0, only=["global", "data"]):
        found["none"] = watching()
    before = descriptors()
    with pgregistry.init(only=["global", "data"], timeout=120) as context:
        found["one"], found["lowered"] = watching(), context.process_groups.watches[0].seconds
        context.set_timeout(60)
        found["lowered again"] = context.process_groups.watches[0].seconds
        with pgregistry.init(only=["global", "data"], watch=10):
            found["two"] = watching()
        child = os.fork()
        if not child:
            context.close()
            os._exit(watching())
        found["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found["after"] = watching(), descriptors() - before
    found["lines"] = heard.lines
    return found


def test_a_watch_lives_as_long_as_its_context() -> None:
    for rank, found in enumerate(run_ranks(2, lives_of_watches)):
        lines = found.pop("lines")
        assert found == {
            "none": 0,
            "one": 2,
            "lowered": 80,
            "lowered again": 40,
            "two": 4,
            "child": 0,
            "after": (0, 0),
        }
        if rank == 0:
            assert lines[0] == (
                "watch = 300 s is lowered to 80 s, 2/3 of the shortest timeout, after which torch ends what is pending."
            )
            assert lines[1].startswith("Ranks that wait for 80 s all find out who holds up the run. Not seen: send and")
        else:
            assert lines == []


def two_contexts() -> list[dict[int, str]]:
    """Ranks 2 and 3 have a context of their own, in which rank 3 does not come; that of all is stuck in nothing."""
    heard, rank = Heard(), dist.get_rank()
    with pgregistry.init(only=["global"], watch=0.5):
        if rank >= 2:
            with pgregistry.init(only=["global"], within=[3, 2], watch=0.5) as pair:
                if rank == 3:
                    text = heard.wait("Ranks have waited")
                dist.all_reduce(torch.ones(1), group=pair["global"].group)
                if rank == 2:
                    text = heard.wait("Ranks have waited")
                dist.barrier(group=pair["global"].group)
            found = [named(text)]
        else:
            found = [named(line) for line in heard.lines if line.startswith("Ranks have")]
            time.sleep(1)
    return found


def test_each_context_watches_its_own_groups() -> None:
    """The world is that of a FileStore, in which ranks look for a roll call now and then."""
    assert run_ranks(4, two_contexts) == [[], [], [{3: "process"}], [{3: "process"}]]


class Connected(threading.Event):
    """Set when the watch of this rank has connected to the store."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        real = ScopedStore.second_connection

        def connect(scope: ScopedStore) -> Any:
            store = real(scope)
            self.set()
            return store

        patch.setattr(ScopedStore, "second_connection", connect)


def left_open() -> int:
    """Return how many descriptors a context that is closed, but not forgotten, keeps open."""
    pgregistry.init(only=["global"]).close()
    before = descriptors()
    with pytest.MonkeyPatch.context() as patch:
        connected = Connected(patch)
        context = pgregistry.init(only=["global"], watch=1)
        assert connected.wait(30)
    context.close()
    until = time.monotonic() + 10
    while descriptors() > before and time.monotonic() < until:  # torch ends some in the background
        time.sleep(0.05)
    assert context.process_groups.state == "closed"
    return descriptors() - before


def test_a_watch_that_is_closed_keeps_no_connection_to_the_store() -> None:
    assert run_ranks(2, left_open, world=False) == [0, 0]


def connected_and_left_behind(watch: float, seconds: float) -> tuple[bool, int]:
    """Return whether the watch connects within some seconds if it takes its time, and the threads that are left."""
    with pytest.MonkeyPatch.context() as patch:
        connected = Connected(patch)
        patch.setattr(random, "uniform", lambda _, longest: longest)
        with pgregistry.init(only=["global"], watch=watch):
            came = connected.wait(seconds)
    return came, watching()


@pytest.mark.parametrize(("watch", "seconds", "came"), [(300, 1, False), (1, 30, True)])
def test_a_rank_connects_for_the_watch_when_init_is_over(watch: float, seconds: float, came: bool) -> None:
    """All ranks connect in `init`, so the store must not have as many further clients at the same moment."""
    assert run_ranks(2, connected_and_left_behind, watch, seconds, world=False) == [(came, 0)] * 2


def interrupted_when_a_thread_has_started(number: int) -> int:
    """Return how many threads of the watch are left on rank 0, whose Ctrl-C comes at the start of one of them."""
    pgregistry.init(only=["global"]).close()
    start, started = AbandonableThread.start, list[AbandonableThread]()

    def start_and_interrupt(thread: AbandonableThread) -> None:
        start(thread)
        if isinstance(getattr(getattr(thread, "_job", None), "__self__", None), Watch):
            started.append(thread)
            if len(started) == number and dist.get_rank() == 0:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbandonableThread, "start", start_and_interrupt)
        try:
            pgregistry.init(only=["global"]).close()
        except KeyboardInterrupt:
            assert dist.get_rank() == 0
        assert len(started) == (number if dist.get_rank() == 0 else 2)
    until = time.monotonic() + 10
    while watching() and time.monotonic() < until:
        time.sleep(0.05)
    return watching()


@pytest.mark.parametrize("number", [1, 2])
def test_a_watch_whose_start_is_interrupted_leaves_no_thread(number: int) -> None:
    assert run_ranks(2, interrupted_when_a_thread_has_started, number) == [0, 0]
