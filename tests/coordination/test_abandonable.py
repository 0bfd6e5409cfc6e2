"""Threads that may block: their outcome, how they are given up, and how the next `init` waits for them."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

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


def test_what_a_thread_raises_after_it_was_given_up_is_not_kept() -> None:
    def job() -> None:
        time.sleep(0.2)
        raise ValueError("late")

    thread = AbandonableThread(job)
    thread.start()
    assert give_up([thread])
    assert thread.failure is None


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


def test_a_job_runs_here_if_the_system_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_abandonable(threading.current_thread, lambda: None, 0.1) is threading.main_thread()
