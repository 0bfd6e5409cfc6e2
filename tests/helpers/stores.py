"""Stores that count their calls, and ranks that are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from pgregistry.coordination.store import ScopedStore


class Counting(dist.Store):
    """A rank's own way to a store: it counts the calls, and its timeout is its own."""

    def __init__(self, store: Any) -> None:
        super().__init__()
        self.store = store
        self.calls: list[tuple[str, str]] = []

    def _count(self, call: str, keys: Sequence[str]) -> Any:
        self.calls.append((call, keys[0]))
        return self.store

    def has_extended_api(self) -> bool:
        return True

    def set(self, key: str, value: Any) -> None:
        self._count("set", [key]).set(key, value)

    def multi_set(self, keys: Sequence[str], values: Sequence[Any]) -> None:
        self._count("multi_set", keys).multi_set(keys, values)

    def append(self, key: str, value: Any) -> None:
        self._count("append", [key]).append(key, value)

    def add(self, key: str, value: int) -> int:
        return int(self._count("add", [key]).add(key, value))

    def compare_set(self, key: str, expected: str, desired: str) -> Any:
        return self._count("compare_set", [key]).compare_set(key, expected, desired)

    def check(self, keys: Sequence[str]) -> bool:
        return bool(self._count("check", keys).check(keys))

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        self._count("wait", keys).wait(keys, timeout or self.timeout)

    def get(self, key: str) -> bytes:
        self._count("get", [key]).wait([key], self.timeout)
        return bytes(self.store.get(key))

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        self._count("multi_get", keys).wait(keys, self.timeout)
        return list(self.store.multi_get(keys))


def as_ranks(function: Callable[[int], Any], ranks: Sequence[int]) -> dict[int, Any]:
    """Return what a function returns or raises on each rank, in threads."""
    outcome: dict[int, Any] = {}

    def run(rank: int) -> None:
        try:
            outcome[rank] = function(rank)
        except Exception as error:
            outcome[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcome) == sorted(ranks), "a rank hangs"
    return outcome


def scope_of(store: Any, rank: int, size: int) -> ScopedStore:
    """Return the scope of a rank among all ranks."""
    return ScopedStore.open(store, rank, range(size), everybody=True)


def busiest(size: int, function: Callable[[Counting, int], Any]) -> int:
    """Return the most store calls that a rank makes in a function, whatever it raises."""
    store = dist.HashStore()
    counting = {rank: Counting(store) for rank in range(size)}
    as_ranks(lambda rank: function(counting[rank], rank), range(size))
    return max(len(one.calls) for one in counting.values())
