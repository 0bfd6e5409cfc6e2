"""An exchange of addresses for many process groups at once: one write and one read for all of them.

gloo asks the store for the address of each member of each group in turn. Here all process groups of
a rank are made at the same time, each in a thread. Their addresses are written in one call, and those
of all other members are read in one. Every rank writes before it reads, so ranks may make their groups
in any order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from pgregistry.building.watchdog import LOOK, Watchdog
from pgregistry.coordination.abandonable import AbandonableThread, Gate, GivenUpError, give_up, given_up
from pgregistry.coordination.barrier import GONE, address_key
from pgregistry.coordination.store.codec import decode, encode
from pgregistry.coordination.store.scoped_store import SLICE, ScopedStore
from pgregistry.torch_private import gloo

#: The pause of a thread between two reads of a key that is written after the exchange, in seconds.
PAUSE: Final = 0.002


class ExchangeStore(Store):
    """The store of the threads in `run_together`. torch keeps only its C++ half alive, so keep this object.

    A read waits until the addresses of all peers are here. What is written later goes straight to the
    store.
    """

    def __init__(self, scope: ScopedStore, peers: Sequence[int]) -> None:
        super().__init__()
        self._scope = scope
        self._peers = peers
        self._store: Any = PrefixStore("groups", scope.store)
        self._known: dict[str, bytes] = {}
        self._mine: list[bytes] = []
        self._waiting = 0
        self._state = "collecting"  # then "published", then "complete" or "given up"
        self._threads = threading.Lock()  # of those that make process groups
        # Of the thread that waits for them: Ctrl-C there may leave a Condition held for ever, but no queue.
        self._changes = SimpleQueue[None]()
        self._decided = Gate()  # the state is "complete" or "given up"

    # torch calls these, from the threads that make process groups.

    def has_extended_api(self) -> bool:
        return True

    def set(self, key: str, value: bytes | str) -> None:
        with self._threads:
            if self._state == "collecting":
                self._known[key] = value.encode() if isinstance(value, str) else value
                return
        self._later.set(key, value)

    def get(self, key: str) -> bytes:
        return self.multi_get([key])[0]

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        with self._threads:
            self._waiting += 1
        self._changes.put(None)
        self._decided.wait()
        with self._threads:
            self._waiting -= 1
        _ = self._later
        return [self._known[key] if key in self._known else self._get_later(key) for key in keys]

    @property
    def _later(self) -> Any:
        """Return the store for what is not exchanged; raise if building was given up."""
        if self._state == "given up":
            raise GivenUpError("building was given up")
        return self._store

    def _get_later(self, key: str) -> bytes:
        """Return what is written after the exchange, as torch does with TORCH_DISTRIBUTED_DEBUG=DETAIL.

        The threads share one connection. A blocking `get` would hold it for all of them, also for
        those that have something to write, so this asks again and again.
        """
        until = time.monotonic() + self._store.timeout.total_seconds()
        while not self._later.check([key]):
            if time.monotonic() > until:
                raise RuntimeError(f"Timeout: nobody wrote {key}")
            time.sleep(PAUSE)
        return bytes(self._later.get(key))

    def multi_set(self, keys: Sequence[str], values: Sequence[bytes | str]) -> None:
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        self.multi_get(keys)

    def check(self, keys: Sequence[str]) -> bool:
        return all(key in self._known or self._later.check([key]) for key in keys)

    def add(self, key: str, value: int) -> int:
        return int(self._later.add(key, value))

    def compare_set(self, key: str, expected: str, desired: str) -> Any:
        return self._later.compare_set(key, expected, desired)

    # `run_together` calls these, in the thread that waits for the others.

    def collect(self, alive: Callable[[], int], watchdog: Watchdog) -> None:
        """Wait until all threads have written their addresses and read those of others.

        Args:
            alive: Returns how many threads still make a process group; raises what one of them raised.
            watchdog: Ends the wait.
        """
        while not self._wait_until(lambda: self._waiting >= alive(), watchdog.next(SLICE)):
            watchdog.look_around()
        self._state = "published"
        self._mine = list(self._known.values())

    def exchange(self, watchdog: Watchdog) -> None:
        """Write the addresses of all threads, read those of the peers, and let the threads go on."""
        mine = encode({key: value.decode("latin-1") for key, value in self._known.items()})
        self._scope.set(address_key(self._scope.rank), mine)
        keys = [address_key(peer) for peer in self._peers]
        while (found := self._scope.read(keys, watchdog.next(SLICE))) is None or GONE in found:
            watchdog.look_around()
            time.sleep(PAUSE)
        for key, text in zip(keys, found, strict=True):
            self._known |= self._scope.parse(key, text, _addresses)
        self._end("complete")

    def give_up(self) -> None:
        """End the wait of all threads with an error."""
        self._end("given up")

    def end_connecting(self) -> None:
        """End the wait of threads that have all addresses, and that members do not connect to any more."""
        for address in self._mine:
            gloo.connect_to_self(address, len(self._scope.ranks))

    def _end(self, state: str) -> None:
        self._state = state
        self._decided.open()

    def thread_ended(self) -> None:
        """Wake the thread that waits for the others."""
        self._changes.put(None)

    def wait_for_threads(self, alive: Callable[[], int], seconds: float) -> bool:
        """Wait until all threads have ended; return False if they have not within `seconds`."""
        return self._wait_until(lambda: not alive(), seconds)

    def _wait_until(self, done: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not done():
            try:
                self._changes.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                return done()
        return True


def run_together(
    store: ExchangeStore,
    jobs: Sequence[Callable[[], object]],
    watchdog: Watchdog,
    environment: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Run jobs at the same time, each in a thread, and serve them by the store.

    Args:
        store: Serves the jobs.
        jobs: Each makes a process group.
        watchdog: Ends the wait for other ranks.
        environment: Entered until all jobs have written their addresses: gloo reads its variables before that.

    Raises:
        Exception: what the first job raised, or the watchdog, at once; the other jobs end with an error.
    """
    failures: list[BaseException] = []
    finished: list[None] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)
            if given_up():  # nobody raises it, and its frames hold this list: a cycle that keeps connections open
                failures.clear()
        finally:
            finished.append(None)
            store.thread_ended()

    def alive() -> int:
        if failures:
            raise failures[0]
        return len(jobs) - len(finished)

    threads = [AbandonableThread(partial(run, job)) for job in jobs]
    with _giving_up(store, threads, failures):
        with environment():
            for thread in threads:
                thread.start()
            store.collect(alive, watchdog)
        if jobs:
            store.exchange(watchdog)
        while not store.wait_for_threads(alive, watchdog.next(LOOK)):
            watchdog.look_around()
        for thread in threads:
            thread.wait()


@contextmanager
def _giving_up(
    store: ExchangeStore, threads: Sequence[AbandonableThread], failures: list[BaseException]
) -> Iterator[None]:
    """Give the threads up if anything is raised: their next call of the store ends them."""
    try:
        yield
    except BaseException:
        store.give_up()
        if not give_up(threads):
            store.end_connecting()
        failures.clear()
        raise


def _addresses(text: str) -> dict[str, bytes]:
    """Return the keys and values that the threads of one rank wrote; raise what Python raises if it is not that."""
    return {key: value.encode("latin-1") for key, value in decode(text).items()}
