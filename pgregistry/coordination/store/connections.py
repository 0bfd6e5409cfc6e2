"""Connections to torch's stores: what differs between their kinds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from torch.distributed import DistNetworkError, DistStoreError, PrefixStore, TCPStore  # type: ignore[attr-defined]

#: Seconds in which the host of a store must take a new connection.
CONNECT: Final = 3.0


class LostError(Exception):
    """The store does not answer any more, because the process that hosts it is gone or cut off."""


def second_connection(store: Any) -> Any:
    """Return the same store over another connection, if it has one: a call that waits blocks all users of one."""
    try:
        return store.clone()
    except RuntimeError:  # a store that is written in Python, or one that keeps files, has none
        return store


def reconnected(store: Any) -> Any:
    """Return a store over a new connection: torch's server breaks off one on which it was asked what it cannot do.

    Raises:
        LostError: if nothing listens there any more. torch itself would go on trying.
    """
    server = _innermost(store)
    if isinstance(server, TCPStore):
        try:
            socket.create_connection((server.host, server.port), timeout=CONNECT).close()
        except OSError as error:
            raise LostError(str(error)) from error
    return second_connection(store)


def without_libuv(store: Any) -> bool:
    """Return whether a store has torch's older server, where compare-and-set does not wake ranks that wait."""
    return getattr(_innermost(store), "libuvBackend", True) is False


def _innermost(store: Any) -> Any:
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store


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
