"""The store under a prefix of its own for each `init`, with a time limit on every call."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    PrefixStore,
    Store,
)

from pgregistry.coordination.store.connections import LostError, second_connection, timed_out, waiting, without_libuv
from pgregistry.coordination.store.worker import Worker
from pgregistry.errors import describe

log = logging.getLogger("pgregistry")

#: Keys in one request. A server of torch limits their number, and takes longer for each the more there are.
CHUNK: Final = 1024
#: Seconds that one wait takes before the rank looks around.
SLICE: Final = 5.0
#: Seconds in which a store must answer a call that does not wait: at first, and when it is asked again.
ANSWER: Final = 10.0
AGAIN: Final = 5.0

Result = TypeVar("Result")


class ScopedStore:
    """The keys of one `init` among some ranks.

    Attributes:
        rank: This rank.
        ranks: The ranks that take part, ascending.
        name: A prefix that no other `init` among these ranks uses.
        store: The store below that prefix.
        host: The process that hosts the store, in words.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        ranks: Sequence[int],
        *,
        name: str,
        host: str = "rank 0",
        worker: Worker | None = None,
    ) -> None:
        self.rank = rank
        self.ranks = ranks
        self.name = name
        self.host = host
        self.store: Any = PrefixStore(name, store)
        self._whole = store  # torch keeps only the C++ half of a store that is written in Python
        self._worker = worker or Worker()
        self._wake = without_libuv(store)

    @classmethod
    def open(
        cls,
        store: Store,
        rank: int,
        ranks: Sequence[int],
        *,
        everybody: bool,
        host: str = "rank 0",
        below: str = "pgregistry",
        worker: Worker | None = None,
    ) -> ScopedStore:
        """Return the scope of this rank's next `init` among these ranks; one call.

        Each rank counts its calls of `init` in the store, so keys of an earlier call are never met,
        not even in a store that outlives the world (torchrun's agent hosts one).

        Args:
            store: The store that all ranks reach.
            rank: This rank.
            ranks: The ranks that take part.
            everybody: Whether these are all ranks of the world.
            host: The process that hosts the store, in words.
            below: A prefix for all scopes.
            worker: The thread that makes the calls, for several scopes of one `init`.
        """
        worker = worker or Worker()
        among = "all" if everybody else hashlib.blake2b(repr(tuple(ranks)).encode(), digest_size=6).hexdigest()
        outer = cls(store, rank, ranks, name=f"{below}/{among}", host=host, worker=worker)
        call = outer.add(f"calls/{rank}", 1)
        return cls(store, rank, ranks, name=f"{outer.name}/{call}", host=host, worker=worker)

    def second_connection(self) -> Any:
        """Return the store below the prefix over a connection of its own, for calls that may wait in torch."""
        return PrefixStore(self.name, second_connection(self._whole))

    @property
    def everybody(self) -> bool:
        """Return whether these are all ranks of the world."""
        return self.name.split("/")[-2] == "all"

    def beside(self, name: str) -> ScopedStore:
        """Return the store below another prefix."""
        return ScopedStore(self._whole, self.rank, self.ranks, name=name, host=self.host, worker=self._worker)

    def common(self) -> ScopedStore:
        """Return the store below the prefix of all scopes."""
        return self.beside(self.name.rsplit("/", 2)[0])

    def of_all_calls(self) -> tuple[ScopedStore, int]:
        """Return the store below the prefix of all calls of `init` among these ranks, and the number of this call."""
        name, _, call = self.name.rpartition("/")
        return self.beside(name), int(call)

    def _call(self, question: Callable[[Any], Result], seconds: float = 0, *, again: bool = True) -> Result:
        """Run a question on the store, which may take `seconds`, in the worker's thread.

        torch waits for ever if the host of a store was cut off. So a thread asks. A question that got no
        answer, or an error, is asked once more, over another connection.

        Args:
            question: A call of the store.
            seconds: The time that it may wait.
            again: Whether it can be asked twice: counting cannot.

        Raises:
            LostError: if there is no answer either time.
        """
        if self._worker.lost:
            raise LostError("it gave no answer before")
        try:
            return self._ask(question, seconds + ANSWER)
        except Exception as error:
            lost = error if isinstance(error, LostError) else LostError(describe(error))
            if isinstance(error, DistNetworkError) or not again:
                raise lost from error
            log.debug("rank %d asks the store again: %s", self.rank, lost)
        try:
            return self._ask(question, seconds + AGAIN)
        except LostError:
            self._worker.lost = True
            raise
        except Exception as error:
            raise LostError(describe(error)) from error

    def _ask(self, question: Callable[[Any], Result], seconds: float) -> Result:
        def give_up() -> None:
            self._worker.replace()
            raise LostError(f"no answer for {seconds:g} s")

        return self._worker.run(partial(question, self.store), give_up, seconds)

    def set(self, key: str, value: str) -> None:
        """Write a key."""
        self._call(lambda store: store.set(key, _sendable(value)))

    def set_many(self, values: Mapping[str, str]) -> None:
        """Write several keys, `CHUNK` in one call."""
        for keys in chunks(list(values)):
            self._call(partial(_set, keys, [_sendable(values[key]) for key in keys]))

    def set_if_absent(self, key: str, value: str) -> str:
        """Write a key unless it is there, and return its value: compare-and-set."""
        found = _text(self._call(lambda store: store.compare_set(key, "", _sendable(value))))
        if self._wake and found == value:
            self.set(key, value)
        return found

    def append(self, key: str, text: str) -> None:
        """Append text to the value of a key."""
        self._call(lambda store: store.append(key, text), again=False)

    def add(self, key: str, by: int) -> int:
        """Add to the number in a key, and return the sum."""
        return int(self._call(lambda store: store.add(key, by), again=False))

    def has(self, key: str) -> bool:
        """Return whether a key is there."""
        return bool(self._call(lambda store: store.check([key])))

    def delete(self, key: str) -> None:
        """Delete a key."""
        self._call(lambda store: store.delete_key(key))

    def read(self, keys: Sequence[str], seconds: float) -> list[str] | None:
        """Return the values of keys as soon as all are there, or None after `seconds`."""
        deadline, values = time.monotonic() + seconds, list[str]()
        for chunk in chunks(keys):
            left = max(deadline - time.monotonic(), 0.001)
            got = self._call(partial(_get, chunk, left), left)
            if got is None:
                return None
            values += map(_text, got)
        return values

    def wait_for(self, key: str, until: float, look_around: Callable[[], None] = lambda: None) -> str | None:
        """Return the value of a key as soon as it is there, or None at the time `until`.

        Args:
            key: The key.
            until: A time of `time.monotonic()`.
            look_around: Called every `SLICE` seconds meanwhile.
        """
        while (left := until - time.monotonic()) > 0:
            values = self.read([key], min(left, SLICE))
            if values is not None:
                return values[0]
            look_around()
        return None


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return keys in runs that one request can hold."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _sendable(text: str) -> str:
    """Return text without surrogates, which torch cannot send: they come from paths that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _set(keys: Sequence[str], values: Sequence[str], store: Any) -> None:
    store.multi_set(keys, values)


def _get(keys: Sequence[str], seconds: float, store: Any) -> list[bytes] | None:
    with waiting(store, seconds):
        try:
            return [store.get(keys[0])] if len(keys) == 1 else list(store.multi_get(list(keys)))
        except RuntimeError as error:
            if not timed_out(error):
                raise
            return None


def _text(value: bytes | str) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def environment(names: Iterable[str]) -> dict[str, str]:
    """Return those of some environment variables that are set."""
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}
