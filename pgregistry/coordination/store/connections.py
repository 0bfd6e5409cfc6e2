"""Connections to torch's stores: what differs between their kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from torch.distributed import DistNetworkError, DistStoreError, PrefixStore  # type: ignore[attr-defined]


class LostError(Exception):
    """The store does not answer any more, because the process that hosts it is gone or cut off."""


def second_connection(store: Any) -> Any:
    """Return the same store over another connection, if it has one: a call that waits blocks all users of one."""
    try:
        return store.clone()
    except RuntimeError:  # a store that is written in Python, or one that keeps files, has none
        return store


def without_libuv(store: Any) -> bool:
    """Return whether a store has torch's older server, where compare-and-set does not wake ranks that wait."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return getattr(store, "libuvBackend", True) is False


def timed_out(error: RuntimeError) -> bool:
    """Return whether an error of a store only means that a key did not come in time; each kind words it its own way."""
    return isinstance(error, DistStoreError) or (type(error) is RuntimeError and str(error).startswith("Timeout"))


@contextmanager
def connected() -> Iterator[None]:
    """Turn torch's error for a lost connection into `LostError`; a plain timeout passes through."""
    try:
        yield
    except DistNetworkError as error:
        raise LostError(str(error).splitlines()[0]) from error


@contextmanager
def waiting(store: Any, seconds: float) -> Iterator[None]:
    """Set how long the store waits, and restore it: a `get` has no timeout of its own."""
    before = store.timeout
    store.set_timeout(timedelta(seconds=seconds))
    try:
        yield
    finally:
        store.set_timeout(before)
