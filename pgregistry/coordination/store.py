"""The store as ranks use it before and while they build: a corner of its own for each `init`."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    PrefixStore,
    Store,
)

from pgregistry.coordination.worker import Worker

#: A server of torch takes a limited number of keys in one request, and takes longer for each the more there are.
CHUNK: Final = 1024
#: How long one wait takes before a rank looks around, in seconds.
SLICE: Final = 5.0
#: How long a store may take to answer what it need not wait for, in seconds; then its host is cut off.
ANSWER: Final = 15.0

Result = TypeVar("Result")


class LostError(Exception):
    """The store does not answer any more: the process that hosts it is gone."""


class Board:
    """The keys of one `init` among some ranks.

    Each rank counts its own calls of `init` in the store, so keys of an earlier call are never
    met, also where the store outlives the world (torchrun's agent hosts one).

    Attributes:
        rank: This rank.
        ranks: The ranks that take part, ascending.
        everybody: Whether these are all ranks.
        name: A prefix that no other `init` among these ranks uses.
        store: The store, below that prefix.
        host: Who hosts the store, in words.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        ranks: Sequence[int],
        *,
        everybody: bool,
        host: str = "rank 0",
        below: str = "pgregistry",
        worker: Worker | None = None,
    ) -> None:
        self.rank = rank
        self.ranks = ranks
        self.everybody = everybody
        self.host = host
        self._worker = worker or Worker()
        self._whole = store  # torch keeps only the C++ half of a store made in Python
        among = "all" if everybody else hashlib.blake2b(repr(tuple(ranks)).encode(), digest_size=6).hexdigest()
        self.store: Any = store
        call = self._ask(lambda store: store.add(f"{below}/{among}/calls/{rank}", 1))
        self.name = f"{below}/{among}/{call}"
        self.store = PrefixStore(self.name, store)
        self._beside = PrefixStore(below, store)

    def another(self) -> Any:
        """The store, below the prefix, by a connection of its own: for who may wait in torch."""
        return PrefixStore(self.name, another(self._whole))

    def _ask(self, question: Callable[[Any], Result], seconds: float = 0) -> Result:
        """What the store answers to a question that takes it so many seconds.

        torch waits for ever where the host of a store was cut off, so a thread asks, and no other
        question after one that got no answer.
        """
        if self._worker.given_up:
            raise LostError("it gave no answer before")

        def give_up() -> None:
            self._worker.given_up = True
            raise LostError(f"no answer for {seconds + ANSWER:g} s")

        with connected():
            return self._worker.do(partial(question, self.store), give_up, seconds + ANSWER)

    def set(self, key: str, value: str) -> None:
        """Write a key; nobody waits for it."""
        self._ask(lambda store: store.set(key, value))

    def write(self, values: Mapping[str, str]) -> None:
        """Write several keys in one call."""
        self._ask(lambda store: store.multi_set(list(values), list(values.values())))

    def first(self, key: str, value: str, name: str | None = None) -> str:
        """The value that the first rank gave to a key, which may be this one; on another board, by its name."""
        where = self.store if name is None else PrefixStore(name, self._whole)
        return _text(self._ask(lambda _: where.compare_set(key, "", value)))

    def count(self, key: str, by: int = 1) -> int:
        """Add one to a number, and read it; or only read it, by 0."""
        return int(self._ask(lambda store: store.add(key, by)))

    def has(self, key: str) -> bool:
        """Whether a key is there."""
        return bool(self._ask(lambda store: store.check([key])))

    def post(self, text: str) -> None:
        """Write where ranks of other boards read too, one text for each rank."""
        self._ask(lambda _: self._beside.set(f"posted/{self.rank}", text))

    def posted(self, rank: int) -> str:
        """What a rank wrote there last; nothing if it never did."""
        key, store = f"posted/{rank}", self._beside
        return self._ask(lambda _: _text(store.get(key)) if store.check([key]) else "")

    def read(self, keys: Sequence[str], seconds: float) -> list[str] | None:
        """The values of keys, as soon as all are there; None if they are not within `seconds`."""
        deadline, values = time.monotonic() + seconds, list[str]()
        for chunk in chunks(keys):
            left = max(deadline - time.monotonic(), 0.001)
            got = self._ask(partial(_get, chunk, left), left)
            if got is None:
                return None
            values += map(_text, got)
        return values

    def watch(self, key: str, until: float, look_around: Callable[[], None] = lambda: None) -> str | None:
        """The value of a key; None at the time `until`. Looks around every few seconds meanwhile."""
        while (left := until - time.monotonic()) > 0:
            values = self.read([key], min(left, SLICE))
            if values is not None:
                return values[0]
            look_around()
        return None


def another(store: Any) -> Any:
    """The same store by another connection, where it has such a thing: one that waits blocks all its users."""
    try:
        return store.clone()
    except RuntimeError:  # a store made in Python has none
        return store


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys in runs that one request can hold."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _get(keys: Sequence[str], seconds: float, store: Any) -> list[bytes] | None:
    with waiting(store, seconds):
        try:
            return [store.get(keys[0])] if len(keys) == 1 else list(store.multi_get(list(keys)))
        except RuntimeError as error:
            if not timed_out(error):
                raise
            return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def timed_out(error: RuntimeError) -> bool:
    """Whether a store only says that a key did not come in time; each kind says it in its own words."""
    return isinstance(error, DistStoreError) or (type(error) is RuntimeError and str(error).startswith("Timeout"))


@contextmanager
def connected() -> Iterator[None]:
    """Turn torch's word for a lost connection into ours; a plain timeout passes through."""
    try:
        yield
    except DistNetworkError as error:
        raise LostError(str(error).splitlines()[0]) from error


@contextmanager
def waiting(store: Any, seconds: float) -> Iterator[None]:
    """Set how long the store waits, and set it back: a `get` has no timeout of its own."""
    before = store.timeout
    store.set_timeout(timedelta(seconds=seconds))
    try:
        yield
    finally:
        store.set_timeout(before)


def environment(names: Iterable[str]) -> dict[str, str]:
    """Those of some environment variables that are set."""
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}
