"""A thread for calls that may block in torch, and that the caller can abandon."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """A thread that runs one job after another. It starts with the first.

    It ends, after the job that it runs, when nothing refers to the worker any more, or with `end`.

    Attributes:
        busy: Whether it is in a job. After `run` has returned or raised, that job was left behind.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._started = False
        self.busy = False

    def run(self, job: Callable[[], Result], look_around: Callable[[], None], wait: float) -> Result:
        """Return the result of a job, while the calling thread looks around every `wait` seconds."""
        if not self._started:
            try:
                threading.Thread(target=_work, args=(self._jobs,), daemon=True).start()
            except (RuntimeError, MemoryError):  # a limit of the system; it must still be published for the other ranks
                return job()
            self._started = True
        outcome: queue.SimpleQueue[tuple[BaseException | None, Any]] = queue.SimpleQueue()
        self.busy = True
        self._jobs.put((job, outcome))
        while True:
            try:
                failure, result = outcome.get(timeout=wait)
            except queue.Empty:
                look_around()
                continue
            self.busy = False
            if failure is None:
                answer: Result = result
                return answer
            try:
                raise failure
            finally:
                del failure, self  # or the error would keep them alive, in a cycle

    def end(self) -> None:
        """End the thread after its job."""
        self._jobs.put(None)

    __del__ = end


def _work(jobs: queue.SimpleQueue[Any]) -> None:
    while (given := jobs.get()) is not None:
        job, outcome = given
        try:
            outcome.put((None, job()))
        except BaseException as error:
            outcome.put((error, None))
        del given, job, outcome  # a thread that waits for its next job keeps nothing of the last alive
