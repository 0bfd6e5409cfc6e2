"""A store that gathers what many process groups ask at once: one write, one read for all of them.

gloo asks for the address of each member of each group in turn. Here all process groups of a
rank are made at the same time, in a thread each; what they write leaves in one call, and what
they wait for is read in one call. Every address is out before anyone waits for one, so ranks may
make their groups in any order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

from pgregistry.board import chunks, connected, timed_out, waiting


class GatheringStore(Store):
    """What the threads of `together` see; torch keeps only its C++ half alive, so keep this one."""

    def __init__(self, name: str, store: Any) -> None:
        super().__init__()
        self._store: Any = PrefixStore(name, store)
        self._changed = threading.Condition()
        self._written: dict[str, bytes | str] = {}
        self._known: dict[str, bytes] = {}
        self._wanted: dict[int, Sequence[str]] = {}  # by thread
        self._gathers = True

    # What torch calls, from the threads that make process groups.

    def has_extended_api(self) -> bool:
        return True

    def set(self, key: str, value: bytes | str) -> None:
        if not self._gathers:
            self._store.set(key, value)
            return
        with self._changed:
            self._written[key] = value

    def get(self, key: str) -> bytes:
        return self.multi_get([key])[0]

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        if not self._gathers:
            return list(self._store.multi_get(list(keys)))
        with self._changed:
            self._wanted[threading.get_ident()] = keys
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._gathers or all(key in self._known for key in keys))
            self._wanted.pop(threading.get_ident(), None)
            if not all(key in self._known for key in keys):
                raise RuntimeError("building was given up")
            return [self._known[key] for key in keys]

    def multi_set(self, keys: Sequence[str], values: Sequence[bytes | str]) -> None:
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        self.multi_get(keys)

    def check(self, keys: Sequence[str]) -> bool:
        return bool(self._store.check(list(keys)))

    def add(self, key: str, value: int) -> int:
        return int(self._store.add(key, value))

    def compare_set(self, key: str, expected: str, desired: str) -> Any:
        return self._store.compare_set(key, expected, desired)

    # What `together` does, in the thread that waits for them.

    def pump(self, alive: Callable[[], int], look_around: Callable[[Sequence[str]], None], wait: float) -> None:
        """Serve the threads until none is alive.

        Args:
            alive: How many threads still make a process group; raises where one failed.
            look_around: Called with the keys that are waited for, when they do not come; may raise.
            wait: How long one read may wait, in seconds.
        """
        gather, read = wait, wait
        try:
            while alive():
                with self._changed:
                    self._changed.wait_for(lambda: len(self._wanted) >= alive(), timeout=gather)
                    wanted = sorted({key for keys in self._wanted.values() for key in keys} - self._known.keys())
                    written, self._written = self._written, {}
                if written:
                    with connected():
                        self._store.multi_set(list(written), list(written.values()))
                if not wanted or not all(self._read(chunk, read) for chunk in chunks(wanted)):
                    look_around(wanted)
                # All threads are under way now: serve each soon, for two ranks may connect two
                # groups in opposite order.
                gather, read = (0.005, 0.05) if wanted else (gather, read)
        finally:
            with self._changed:
                self._gathers = False
                self._changed.notify_all()

    def _read(self, keys: Sequence[str], seconds: float) -> bool:
        """Read keys and hand them to the threads, if all are there within some seconds."""
        with connected(), waiting(self._store, seconds):
            try:
                found = dict(zip(keys, self._store.multi_get(list(keys)), strict=True))
            except RuntimeError as error:
                if not timed_out(error):
                    raise
                return False
        with self._changed:
            self._known |= found
            self._changed.notify_all()
        return True

    def ended(self) -> None:
        """A thread is done."""
        with self._changed:
            self._changed.notify_all()


def together(
    store: GatheringStore, jobs: Sequence[Callable[[], Any]], look_around: Callable[[Sequence[str]], None], wait: float
) -> list[Any]:
    """The results of jobs that run at the same time, each in a thread, served by the store.

    Raises:
        Exception: what the first job raised, or `look_around`, at once; the others are told to
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
        store.pump(alive, look_around, wait)
        for thread in threads:
            thread.join()
        alive()
    except BaseException:
        results.clear()  # the error's traceback must keep none of them alive
        raise
    return results


def in_thread(job: Callable[[], Any], look_around: Callable[[Sequence[str]], None], wait: float) -> Any:
    """The result of a job that may block in torch, while this thread looks around.

    Raises:
        Exception: what the job raised, or `look_around`, at once; the job is left behind.
    """
    outcome: list[Any] = []
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
        look_around([])
        thread.join(wait)
    if failures:
        raise failures[0]
    return outcome[0]
