"""A store that counts the calls of one rank, and one that is slow to sign."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist


class Counting(dist.Store):
    """One rank's view of a store, which counts its calls and has a timeout of its own."""

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

    def delete_key(self, key: str) -> bool:
        return bool(self._count("delete_key", [key]).delete_key(key))

    def check(self, keys: Sequence[str]) -> bool:
        return bool(self._count("check", keys).check(keys))

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        self._count("wait", keys).wait(keys, timeout or self.timeout)

    def get(self, key: str) -> bytes:
        self._count("get", [key]).wait([key], self.timeout)
        return self.store.get(key)

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        self._count("multi_get", keys).wait(keys, self.timeout)
        return list(self.store.multi_get(keys))


class SlowToSign(Counting):
    """The same for a rank that takes some seconds each time that it signs that it has come."""

    def __init__(self, store: Any, seconds: float) -> None:
        super().__init__(store)
        self.seconds = seconds

    def append(self, key: str, value: Any) -> None:
        time.sleep(self.seconds)
        super().append(key, value)
