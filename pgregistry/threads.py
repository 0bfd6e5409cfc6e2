"""A job that may block in torch, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def in_thread(job: Callable[[], Result], look_around: Callable[[], None], wait: float) -> Result:
    """The result of a job that may block in torch, while this thread looks around.

        in_thread(lambda: 2, lambda: None, 0.1)  # 2

    Args:
        job: What may block.
        look_around: Called every `wait` seconds; it raises where there is nothing to wait for.
        wait: In seconds.

    Raises:
        Exception: what the job raised, or `look_around`, at once; the job is left behind.
    """
    outcome: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(job())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(wait)
    while thread.is_alive():
        look_around()
        thread.join(wait)
    if failures:
        raise failures[0]
    return outcome[0]
