"""The store under a prefix of its own for each `init`, with a time limit on every call."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from pgregistry.coordination.store.codec import MOST_CALLS, WRONG_DATA, read_number, received, sendable
from pgregistry.coordination.store.connections import (
    ANSWER,
    LEAST,
    LostError,
    StoreClient,
    address_of,
    read_in_time,
    without_libuv,
)
from pgregistry.errors import PlanMismatch

log = logging.getLogger("pgregistry")

#: Keys in one request. A server of torch limits their number, and takes longer for each the more there are.
CHUNK: Final = 1024
#: Seconds that one wait takes before the rank looks around.
SLICE: Final = 5.0
#: Times that a rank is counted in one key, at most.
MOST_TIMES: Final = 8
#: Ranks of any world, at most.
MOST_RANKS: Final = 1 << 20

_read_call = partial(read_number, 1, MOST_CALLS)
Result = TypeVar("Result")


class ScopedStore:
    """The keys of one `init` among some ranks.

    Attributes:
        rank: This rank.
        ranks: The ranks that take part, ascending.
        name: A prefix that no other `init` among these ranks uses.
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
        client: StoreClient | None = None,
    ) -> None:
        self.rank = rank
        self.ranks = ranks
        self.name = name
        self.host = host
        self._client = client or StoreClient(store)

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
        client: StoreClient | None = None,
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
            client: The connection that makes the calls, shared by the scopes of one `init`.
        """
        client = client or StoreClient(store)
        among = "all" if everybody else hashlib.blake2b(repr(tuple(ranks)).encode(), digest_size=6).hexdigest()
        outer = cls(store, rank, ranks, name=f"{below}/{among}", host=host, client=client)
        call = outer.count(f"calls/{rank}", 1, _read_call, once=True)
        return cls(store, rank, ranks, name=f"{outer.name}/{call}", host=host, client=client)

    @property
    def store(self) -> Any:
        """Return the store below that prefix, for others to keep."""
        return PrefixStore(self.name, self._client.lend())

    def second_connection(self) -> Any:
        """Return the store below the prefix over a connection of its own, for calls that may wait in torch."""
        return PrefixStore(self.name, self._client.second_connection())

    @property
    def address(self) -> str:
        """Return the address and port of the process that hosts the store; empty if it has none."""
        return address_of(self._client.store)

    @property
    def everybody(self) -> bool:
        """Return whether these are all ranks of the world."""
        return self.name.split("/")[-2] == "all"

    def beside(self, name: str) -> ScopedStore:
        """Return the store below another prefix."""
        return ScopedStore(self._client.store, self.rank, self.ranks, name=name, host=self.host, client=self._client)

    def common(self) -> ScopedStore:
        """Return the store below the prefix of all scopes."""
        return self.beside(self.name.rsplit("/", 2)[0])

    def of_all_calls(self) -> tuple[ScopedStore, int]:
        """Return the store below the prefix of all calls of `init` among these ranks, and the number of this call."""
        name, _, call = self.name.rpartition("/")
        return self.beside(name), int(call)

    def check_calls(self, ranks: Sequence[int]) -> None:
        """Check that other ranks can count their calls, if all of them have tried: one that cannot comes nowhere.

        Raises:
            PlanMismatch: if the store holds something else than a number for one.
        """
        calls, _ = self.of_all_calls()
        keys = [f"calls/{rank}" for rank in ranks]
        texts = calls.read(keys, ANSWER) if calls.has(*keys) else None
        for key, text in zip(keys, texts or (), strict=False):
            calls.parse(key, text, _read_call)

    def _call(self, question: Callable[[Any], Result], seconds: float = 0, *, again: bool = True) -> Result:
        """Return the answer of a question to the store, which may take `seconds`."""
        answer: Result = self._client.ask(partial(_below, self.name, question), seconds, again=again)
        return answer

    def set(self, key: str, value: str) -> None:
        """Write a key."""
        self._call(lambda store: store.set(key, sendable(value)))

    def set_many(self, values: Mapping[str, str]) -> None:
        """Write several keys, `CHUNK` in one call."""
        for keys in chunks(list(values)):
            self._call(partial(_set, keys, [sendable(values[key]) for key in keys]))

    def set_if_absent(self, key: str, value: str) -> str:
        """Write a key unless it is there, and return its value: compare-and-set."""
        found = received(self._call(lambda store: store.compare_set(key, "", sendable(value))))
        if found == value and without_libuv(self._client.store):
            self.set(key, value)
        return found

    def append(self, key: str, text: str) -> None:
        """Append text to the value of a key; it may be there twice if the store did not answer."""
        self._call(lambda store: store.append(key, text))

    def count(self, key: str, by: int, read: Callable[[str], Result], *, once: bool = False) -> Result:
        """Add to the number in a key, and return the meaning of the sum; see `parse`.

        Args:
            key: The key.
            by: The number to add.
            read: Returns the meaning.
            once: Whether to add only once in this `init`, also if this rank was interrupted while it did.
        """
        name, sums = f"{self.name}/{key}", self._client.sums

        def add(store: Any) -> None:
            sums[name] = int(store.add(key, by))

        try:
            if not (once and name in sums):
                self._call(add, again=by == 0)
        except LostError:
            if self.has(key):  # torch's server breaks off the connection if there is no number in it
                self.parse(key, "", read)
            raise
        return self.parse(key, str(sums[name]), read)

    def count_ranks(self, key: str, *, others: bool = False) -> int:
        """Add 1 to the number of ranks in a key, those outside of the scope too if `others`, and return the sum."""
        return self.count(key, 1, partial(read_number, 1, MOST_RANKS if others else MOST_TIMES * len(self.ranks)))

    def parse(self, key: str, text: str, read: Callable[[str], Result]) -> Result:
        """Return the meaning of a value of the store; a value that means nothing is read once more.

        Args:
            key: The key.
            text: Its value.
            read: Returns the meaning, or raises what Python raises for wrong data.

        Raises:
            PlanMismatch: if no rank of this version can have written it.
        """
        try:
            return read(text)
        except WRONG_DATA as error:
            log.debug("rank %d reads key %r again, which holds %.200r: %s", self.rank, key, text, error)
        try:
            return read((self.read([key], ANSWER) or [""])[0])
        except WRONG_DATA as error:
            raise PlanMismatch(
                f"The store holds what no rank wrote, in key {self.name}/{key}. Another program writes to this store, "
                "or ranks run different versions of pgregistry."
            ) from error

    def has(self, *keys: str) -> bool:
        """Return whether all of these keys are there."""
        return bool(self._call(lambda store: store.check([*keys])))

    def delete(self, key: str) -> None:
        """Delete a key if the store can: one that is written in Python may not."""
        try:
            self._call(lambda store: store.delete_key(key))
        except LostError as error:
            log.debug("rank %d cannot delete key %s/%s: %s", self.rank, self.name, key, error)

    def read(self, keys: Sequence[str], seconds: float) -> list[str] | None:
        """Return the values of keys as soon as all are there, or None after `seconds`."""
        deadline, values = time.monotonic() + seconds, list[str]()
        for chunk in chunks(keys):
            left = max(deadline - time.monotonic(), LEAST)
            got = self._call(partial(read_in_time, chunk), left)
            if got is None:
                return None
            values += map(received, got)
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


def _below(name: str, question: Callable[[Any], Result], store: Any) -> Result:
    return question(PrefixStore(name, store))


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return keys in runs that one request can hold."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _set(keys: Sequence[str], values: Sequence[str], store: Any) -> None:
    store.multi_set(keys, values)
