"""A client of a store, with a time limit on every question."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from torch.distributed import DistNetworkError

from pgregistry.coordination.store.connections import CONNECT, LostError, reconnected
from pgregistry.coordination.store.worker import Worker
from pgregistry.errors import describe

log = logging.getLogger("pgregistry")

#: Seconds in which a store must answer a call that does not wait: at first, and when it is asked again.
ANSWER: Final = 10.0
AGAIN: Final = 5.0

Result = TypeVar("Result")


class StoreClient:
    """Asks a store in a thread, and gives it up if it does not answer.

    Attributes:
        store: The store. torch keeps only the C++ half of one that is written in Python.
        worker: The thread, which several clients can share.
    """

    def __init__(self, store: Any, worker: Worker) -> None:
        self.store = store
        self.worker = worker

    def ask(self, question: Callable[[Any], Result], seconds: float = 0, *, again: bool = True) -> Result:
        """Return the answer to a question, which may take `seconds`.

        torch waits for ever if the host of a store was cut off. So a thread asks. A question that got no
        answer, or an error, is asked once more, over another connection if the first was lost.

        Args:
            question: A call of the store.
            seconds: The time that it may wait.
            again: Whether it can be asked twice: counting cannot.

        Raises:
            LostError: if there is no answer either time.
        """
        if self.worker.lost:
            raise LostError("it gave no answer before")
        try:
            return self._ask(question, seconds + ANSWER)
        except Exception as error:
            lost = error if isinstance(error, LostError) else LostError(describe(error))
            if isinstance(error, DistNetworkError):
                self._reconnect(lost)
            if not again:
                raise lost from error
            log.debug("the store is asked again: %s", lost)
        try:
            return self._ask(question, seconds + AGAIN)
        except LostError:
            self.worker.lost = True
            raise
        except Exception as error:
            raise LostError(describe(error)) from error

    def _reconnect(self, lost: LostError) -> None:
        """Use another connection from now on, or raise that the store is lost."""
        try:
            self.store = self._ask(reconnected, CONNECT + AGAIN)
        except Exception as error:
            raise lost from error

    def _ask(self, question: Callable[[Any], Result], seconds: float) -> Result:
        def give_up() -> None:
            self.worker.replace()
            raise LostError(f"no answer for {seconds:g} s")

        return self.worker.run(partial(question, self.store), give_up, seconds)
