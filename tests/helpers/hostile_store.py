"""Stores that answer what no rank wrote: garbage that stands under a key, and garbage in the answers to one rank."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest
import torch.distributed as dist
from counting import Counting

from pgregistry.coordination.store.codec import encode


def bomb(mebibytes: int) -> bytes:
    """Return a string of JSON of this size, compressed: one MiB of it, so many times."""
    deflate, one = zlib.compressobj(), b"a" * (1 << 20)
    first, middle = (deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH) for text in (b'"', one))
    last = deflate.compress(b'"') + deflate.flush()
    check = zlib.adler32(b'"')
    for text in (*[one] * mebibytes, b'"'):
        check = zlib.adler32(text, check)
    return first + middle * mebibytes + last[:-4] + check.to_bytes(4, "big")


#: Values that no rank writes under any key.
GARBAGE: Final[Mapping[str, bytes]] = {
    "a word": b"garbage",
    "not UTF-8": b"\xff\xfe\x00",
    "a negative number": b"-7",
    "a number of thousands of digits": b"9" * 5000,
    "null": b"null",
    "deep JSON": b"[" * 100_000,
    "JSON of another shape": b'["x", [[0, 1000000000000]]]',
    "cut off JSON": b"{{{",
    "an encoded list": encode([1]).encode(),
    "an encoded mapping": encode({"rank": {"0": -1}}).encode(),
    "an encoded bomb": base64.b64encode(bomb(200)),
    "escape codes": b"\x1b[31mred\x07",
}
#: Numbers that no count of three ranks is.
NUMBERS: Final = (-1, 0, 10**6, 1 << 62, -(1 << 62))


class Hostile(Counting):
    """One rank's view of a store that answers its n-th call wrongly."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.disarm()

    def disarm(self) -> None:
        """Answer rightly from now on, and count from 0."""
        self.calls.clear()
        self._at, self._kind = -1, ""

    def arm(self, at: int, kind: str) -> None:
        """Answer the call number `at` from now on wrongly."""
        self.calls.clear()
        self._at, self._kind = at, kind

    def _count(self, call: str, keys: Sequence[str]) -> Any:
        super()._count(call, keys)
        if len(self.calls) - 1 != self._at:
            return self.store
        if self._kind in ERRORS:
            raise ERRORS[self._kind]()
        if self._kind == "stall":
            time.sleep(STALL)
        return _Wrong(self.store, self._kind) if self._kind in GARBAGE else self.store


#: Seconds for which a call hangs: longer than the store may take to answer, both times.
STALL: Final = 4.0
ERRORS: Final[Mapping[str, Callable[[], Exception]]] = {
    "raise a timeout": lambda: RuntimeError("Timeout waiting for key"),
    "raise OSError": lambda: OSError("no route to host"),
    "raise DistNetworkError": lambda: dist.DistNetworkError("connection reset"),
    "raise ValueError": lambda: ValueError("stoll"),
}


class _Wrong:
    """A store whose answers are garbage; it does what it is asked to."""

    def __init__(self, store: Any, kind: str) -> None:
        self._store, self._kind = store, kind

    def add(self, key: str, value: int) -> int:
        self._store.add(key, value)
        return NUMBERS[list(GARBAGE).index(self._kind) % len(NUMBERS)]

    def compare_set(self, *args: Any) -> bytes:
        self._store.compare_set(*args)
        return GARBAGE[self._kind]

    def get(self, key: str) -> bytes:
        return GARBAGE[self._kind]

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        return [GARBAGE[self._kind]] * len(keys)

    def check(self, keys: Sequence[str]) -> bool:
        return not self._store.check(keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


#: Times that are shorter in these tests: module, name, seconds.
SHORT: Final = (
    ("store.connections", "ANSWER", 1.0),
    ("store.connections", "AGAIN", 1.0),
    ("store.scoped_store", "SLICE", 1.0),
    ("store.scoped_store", "ANSWER", 1.0),
    ("decision", "COMPOSE", 3.0),
    ("roster", "ROLL_CALL", 1.5),
    ("agreement", "GRACE", 1.0),
    ("comparison", "MOMENT", 0.3),
    ("agreement", "LEAVE", 1.0),
    ("comparison", "LEAVE", 1.0),
    ("barrier", "LEAVE", 1.0),
)


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Make ranks wait for shorter times."""
    for module, name, seconds in SHORT:
        patch.setattr(f"pgregistry.coordination.{module}.{name}", seconds)
    patch.setattr("pgregistry.building.address_exchange.SLICE", 1.0)
