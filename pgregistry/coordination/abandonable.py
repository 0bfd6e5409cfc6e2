"""Threads for calls into torch that may block, and that whoever waits for them can give up."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

#: Seconds in which a thread that was given up ends, unless it waits for another rank.
MOMENT: Final = 0.5
#: Seconds for which the end of the process waits for threads that were given up.
AT_EXIT: Final = 2.0
#: Times that the wait of a thread is ended, at most: what it waits for may come in between.
ENDS: Final = 3


class GivenUpError(RuntimeError):
    """The thread was given up by the one that waited for it."""


class Gate:
    """A gate at which threads wait, and which another opens for good, in the main thread too.

    Ctrl-C within the Python of a `threading.Event` may leave its lock held for ever. A queue is all of C.

    Attributes:
        is_open: Whether it is open.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._pass: SimpleQueue[None] = SimpleQueue()

    def open(self) -> None:
        """Let all pass, those that wait and those that come."""
        self.is_open = True
        self._pass.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Return True as soon as it is open, or False after `seconds`."""
        if not self.is_open:
            with suppress(Empty):
                self._pass.put(self._pass.get(timeout=seconds))  # for the next thread
        return self.is_open


class AbandonableThread(threading.Thread):
    """A thread that runs one job, which may block in torch.

    Python takes a thread for ended if Ctrl-C comes while it is joined, so `wait` is used in place of `join`.

    Attributes:
        given_up: True when nobody waits for the job any more. It then ends at its next step.
        awaited: True if the next `init` must not begin before the job has ended.
        failure: What the job raised, or None.
        result: What the job returned.
    """

    def __init__(self, job: Callable[[], object], *, awaited: bool = False) -> None:
        super().__init__(name="pgregistry", daemon=True)
        self._job = job
        self._ended = Gate()
        self._ended.open()
        self.given_up = False
        self.awaited = awaited
        self.failure: BaseException | None = None
        self.result: Any = None

    def start(self) -> None:
        """Start the job; raise what Python raises if the system gives no thread."""
        self._ended = Gate()
        try:
            super().start()
        except (RuntimeError, MemoryError):
            self._ended.open()
            raise

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the job has ended, or was never started; return False if it has not within `seconds`."""
        return self._ended.wait(seconds)

    def run(self) -> None:
        """Run the job, and keep its outcome."""
        try:
            self.result = self._job()
        except BaseException as error:
            self.failure = error
        finally:
            del self._job  # it keeps process groups alive
            if self.given_up:
                self.forget()
            self._ended.open()

    def forget(self) -> None:
        """Drop the outcome, which keeps process groups and connections alive."""
        self.failure = self.result = None


def given_up() -> bool:
    """Return whether the calling thread was given up."""
    thread = threading.current_thread()
    return isinstance(thread, AbandonableThread) and thread.given_up


def check_given_up() -> None:
    """Raise GivenUpError if the calling thread was given up. Jobs call it before each step outside of this process."""
    if given_up():
        raise GivenUpError("building was given up")


def give_up(threads: Sequence[AbandonableThread], end_wait: Callable[[], None] | None = None) -> bool:
    """Give threads up, wait `MOMENT` seconds at most until they have ended, and return whether they have.

    Args:
        threads: The threads.
        end_wait: Ends a wait in torch for what does not come. Called `ENDS` times at most, each before another moment.
    """
    for thread in threads:
        thread.given_up = True
        thread.forget()  # if it ends just now, one of the two threads does
    ended, attempts = _join(threads, 0 if end_wait else MOMENT), ENDS
    while end_wait and attempts and not ended:
        end_wait()  # at once, for the store may end soon
        ended, attempts = _join(threads), attempts - 1
    if not ended:  # a thread that comes back from torch while Python ends would abort the process
        atexit.unregister(_wait_at_exit)
        atexit.register(_wait_at_exit)
    return ended


def wait_for_given_up(seconds: float) -> bool:
    """Wait until threads of an earlier `init` that the next one must not meet have ended.

    Returns:
        False if one has not ended within `seconds`.
    """
    return _join([thread for thread in _running() if thread.awaited], seconds)


def _wait_at_exit() -> None:
    _join([thread for thread in _running() if thread.given_up], AT_EXIT)


def _running() -> list[AbandonableThread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, AbandonableThread)]


def _join(threads: Sequence[AbandonableThread], seconds: float = MOMENT) -> bool:
    until = time.monotonic() + seconds
    return all(thread.wait(max(until - time.monotonic(), 0)) for thread in threads)


def run_abandonable(
    job: Callable[[], Result],
    look_around: Callable[[], None],
    wait: float,
    *,
    awaited: bool = False,
    end_wait: Callable[[], None] | None = None,
) -> Result:
    """Return the result of a job that may block in torch, while the calling thread looks around.

        run_abandonable(lambda: 2, lambda: None, 0.1)  # 2

    Args:
        job: A function that may block. It calls `check_given_up` between its steps.
        look_around: Called every `wait` seconds. It raises when there is nothing to wait for.
        wait: In seconds.
        awaited: Whether the next `init` must not begin before the job has ended.
        end_wait: Ends the wait of a job that was given up; see `give_up`.

    Raises:
        Exception: the error of the job, or that of `look_around`. The job is then given up.
    """
    thread = AbandonableThread(job, awaited=awaited)
    try:
        try:
            thread.start()
        except (RuntimeError, MemoryError):  # a limit of the system
            return job()
        while not thread.wait(wait):
            look_around()
        if thread.failure is not None:
            raise thread.failure
        result: Result = thread.result
        return result
    except BaseException:
        give_up([thread], end_wait)
        raise
    finally:
        del thread  # or the error would keep it alive, in a cycle
