"""A store that gathers what many process groups ask at once: one write, one read for all of them.

gloo asks for the address of each member of each group in turn. Here all process groups of a
rank are made at the same time, in a thread each. Their addresses leave in one call, and those of
all other members come in one. Every address is out before anyone waits for one, so ranks may make
their groups in any order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from pgregistry.building.watchdog import LOOK, Lookout
from pgregistry.coordination.barrier import GONE, address_key
from pgregistry.coordination.store import SLICE, ScopedStore, decode, encode

#: How long a thread waits before it asks again for what comes after the exchange, in seconds.
PAUSE: Final = 0.002


class GatheringStore(Store):
    """What the threads of `together` see; torch keeps only its C++ half alive, so keep this one.

    What is asked for is held back until the addresses of all peers are here. What comes later goes
    straight to the store.
    """

    def __init__(self, board: ScopedStore, peers: Sequence[int]) -> None:
        super().__init__()
        self._board = board
        self._peers = peers
        self._store: Any = PrefixStore("groups", board.store)
        self._changed = threading.Condition()
        self._known: dict[str, bytes] = {}
        self._waiting = 0
        self._state = "gathering"  # then "told", then "known" or "given up"

    # What torch calls, from the threads that make process groups.

    def has_extended_api(self) -> bool:
        return True

    def set(self, key: str, value: bytes | str) -> None:
        with self._changed:
            if self._state == "gathering":
                self._known[key] = value.encode() if isinstance(value, str) else value
                return
        self._store.set(key, value)

    def get(self, key: str) -> bytes:
        return self.multi_get([key])[0]

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._state in ("known", "given up"))
            self._waiting -= 1
            if self._state == "given up":
                raise RuntimeError("building was given up")
        return [self._known[key] if key in self._known else self._later(key) for key in keys]

    def _later(self, key: str) -> bytes:
        """What is written after the exchange, as torch does with TORCH_DISTRIBUTED_DEBUG=DETAIL.

        The threads share one connection, which a `get` that waits would block for all of them,
        also for those that have something to write; so this asks again and again.
        """
        until = time.monotonic() + self._store.timeout.total_seconds()
        while not self._store.check([key]):
            if self._state == "given up":
                raise RuntimeError("building was given up")
            if time.monotonic() > until:
                raise RuntimeError(f"Timeout: {key} did not come")
            time.sleep(PAUSE)
        return bytes(self._store.get(key))

    def multi_set(self, keys: Sequence[str], values: Sequence[bytes | str]) -> None:
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        self.multi_get(keys)

    def check(self, keys: Sequence[str]) -> bool:
        return all(key in self._known or self._store.check([key]) for key in keys)

    def add(self, key: str, value: int) -> int:
        return int(self._store.add(key, value))

    def compare_set(self, key: str, expected: str, desired: str) -> Any:
        return self._store.compare_set(key, expected, desired)

    # What `together` does, in the thread that waits for them.

    def exchange(self, alive: Callable[[], int], lookout: Lookout) -> None:
        """Tell the peers what all threads wrote, read what theirs did, and let the threads go on.

        Args:
            alive: How many threads still make a process group; raises where one failed.
            lookout: Looks around while a peer does not come.
        """
        with self._changed:
            while not self._changed.wait_for(lambda: self._waiting >= alive(), timeout=lookout.next(SLICE)):
                lookout()
            self._state = "told"
        told = encode({key: value.decode("latin-1") for key, value in self._known.items()})
        self._board.set(address_key(self._board.rank), told)
        keys = [address_key(peer) for peer in self._peers]
        while (found := self._board.read(keys, lookout.next(SLICE))) is None or GONE in found:
            lookout()
        for one in found:
            self._known |= {key: value.encode("latin-1") for key, value in decode(one).items()}
        self._end("known")

    def give_up(self) -> None:
        """Let threads that still wait go, with an error."""
        self._end("given up")

    def _end(self, state: str) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def ended(self) -> None:
        """A thread is done."""
        with self._changed:
            self._changed.notify_all()

    def idle(self, alive: Callable[[], int], seconds: float) -> bool:
        """Whether no thread is alive any more, within some seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not alive(), timeout=seconds)


def together(store: GatheringStore, jobs: Sequence[Callable[[], Any]], lookout: Lookout) -> list[Any]:
    """The results of jobs that run at the same time, each in a thread, served by the store.

    Raises:
        Exception: what the first job raised, or `lookout`, at once; the others are told to
            give up.
    """
    results: list[Any] = [None] * len(jobs)
    failures: list[BaseException] = []
    finished: list[int] = []

    def run(position: int) -> None:
        try:
            results[position] = jobs[position]()
        except BaseException as error:
            failures.append(error)
        finally:
            finished.append(position)
            store.ended()

    def alive() -> int:
        if failures:
            raise failures[0]
        return len(jobs) - len(finished)

    threads = [threading.Thread(target=run, args=(position,), daemon=True) for position in range(len(jobs))]
    for thread in threads:
        thread.start()
    try:
        if jobs:
            store.exchange(alive, lookout)
        while not store.idle(alive, lookout.next(LOOK)):
            lookout()
        for thread in threads:
            thread.join()
    except BaseException:
        store.give_up()
        raise
    return results
