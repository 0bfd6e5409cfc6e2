"""Threads that may block: their outcome, how they are given up, and how the next `init` waits for them."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from typing import Any

import pytest
from interrupts import interrupted

from pgregistry.coordination.abandonable import (
    AbandonableThread,
    GivenUpError,
    check_given_up,
    give_up,
    run_abandonable,
    wait_for_given_up,
)


def never() -> None:
    raise TimeoutError("the time is up")


def test_a_job_returns_or_raises_as_if_it_were_called() -> None:
    assert run_abandonable(lambda: 2, lambda: None, 0.1) == 2
    with pytest.raises(ZeroDivisionError):
        run_abandonable(lambda: 1 // 0, lambda: None, 0.1)


def test_the_caller_looks_around_while_the_job_runs() -> None:
    looks: list[None] = []
    assert run_abandonable(lambda: time.sleep(0.35), lambda: looks.append(None), 0.1) is None
    assert 2 <= len(looks) <= 4


def test_a_job_that_is_given_up_ends_at_its_next_step() -> None:
    steps: list[str] = []
    ended = threading.Event()

    def job() -> None:
        try:
            steps.append("first")
            time.sleep(0.3)
            check_given_up()
            steps.append("second")
        except GivenUpError:
            ended.set()
            raise

    with pytest.raises(TimeoutError, match="the time is up"):
        run_abandonable(job, never, 0.1)
    assert ended.wait(2)
    assert steps == ["first"]


@pytest.mark.parametrize("late", [0.2, 0.8])
def test_the_outcome_of_a_thread_that_was_given_up_is_not_kept(late: float) -> None:
    """It keeps a connection or a process group open."""

    def job() -> str:
        time.sleep(late)
        raise ValueError("late")

    threads = AbandonableThread(job), AbandonableThread(lambda: time.sleep(late) or "late")
    for thread in threads:
        thread.start()
    assert give_up(threads) is (late < 0.5)
    for thread in threads:
        thread.wait()
        assert (thread.failure, thread.result) == (None, None)


def test_a_thread_that_ends_late_is_kept_by_nothing() -> None:
    thread = AbandonableThread(lambda: time.sleep(0.8))
    thread.start()
    assert not give_up([thread])
    reference = weakref.ref(thread)
    thread.wait()
    del thread
    deadline = time.monotonic() + 10
    while reference() is not None and time.monotonic() < deadline:
        time.sleep(0.01)  # Python takes it off its list of threads a moment later
    assert reference() is None


def test_the_calling_thread_is_never_given_up() -> None:
    check_given_up()


@pytest.mark.parametrize("awaited", [True, False])
def test_only_threads_that_must_not_be_met_are_waited_for(awaited: bool) -> None:
    leave = threading.Event()
    with pytest.raises(TimeoutError):
        run_abandonable(lambda: leave.wait(10), never, 0.05, awaited=awaited)
    assert wait_for_given_up(0.1) is not awaited
    leave.set()
    assert wait_for_given_up(2)


def test_a_thread_whose_wait_was_interrupted_has_not_ended() -> None:
    """`threading.Thread.join` takes it for ended then."""
    leave = threading.Event()
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run_abandonable(lambda: leave.wait(10), lambda: None, 10, awaited=True)
    assert not wait_for_given_up(0)
    leave.set()
    assert wait_for_given_up(2)


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_at_any_moment_of_a_wait_lets_the_thread_end(late: bool) -> None:
    """`threading.Event` may keep its lock for ever then, and whoever waits next hangs."""
    came, step = True, 0
    while came:
        step += 1
        leave = threading.Event()
        thread = AbandonableThread(lambda leave=leave: leave.wait(10))
        thread.start()
        if not late:
            leave.set()
        came = interrupted(lambda thread=thread: thread.wait(0.01 if late else 10), step)
        leave.set()
        assert thread.wait(10), step
        assert thread.wait(0)
    assert step > 5


def test_a_job_runs_here_if_the_system_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_abandonable(threading.current_thread, lambda: None, 0.1) is threading.main_thread()
