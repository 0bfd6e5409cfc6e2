"""Connections to torch's stores: what differs between their kinds."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from torch.distributed import (  # type: ignore[attr-defined]
    DistError,
    DistNetworkError,
    DistStoreError,
    PrefixStore,
    TCPStore,
)

from pgregistry.coordination.abandonable import run_abandonable
from pgregistry.errors import describe

log = logging.getLogger("pgregistry")

#: Seconds in which a store must answer a call that does not wait: at first, and when it is asked again.
ANSWER: Final = 10.0
AGAIN: Final = 5.0
#: Seconds in which the host of a store must take a new connection.
CONNECT: Final = 3.0
#: Seconds that a wait takes at least: torch takes what rounds to no millisecond for no limit.
LEAST: Final = 0.001

Result = TypeVar("Result")


class LostError(Exception):
    """The store does not answer any more, because the process that hosts it is gone or cut off."""


class StoreClient:
    """A store over a connection that is replaced if a call does not come back.

    torch waits for ever if the host of a store was cut off, and a call that waits blocks all users of
    its connection. So a thread makes each call, and it is left behind with its connection if need be.

    Args:
        store: The store.
        shared: Whether others use its connection too. The first call then takes another.
        timeout: The timeout of the store for others, if it is known without a look.

    Attributes:
        store: The store. Its timeout may be that of the last call; see `lend`.
        sums: What each number that was counted was then, by its whole key.
    """

    def __init__(self, store: Any, *, shared: bool = False, timeout: timedelta | None = None) -> None:
        self.store = store
        self.sums: dict[str, int] = {}
        self._shared, self._broken = shared, False
        self._lost = False
        self._lent = shared  # whether others wait in it too, as long as its own timeout
        self._timeout = timeout

    def lend(self) -> Any:
        """Return the store for others to keep. From now on each call leaves it with its own timeout."""
        if not self._lent:
            self._lent = True
            self.store.set_timeout(self._own_timeout())
        return self.store

    def set_timeout(self, timeout: timedelta) -> None:
        """Set the timeout of the store for others."""
        self.store.set_timeout(timeout)
        self._timeout = timeout

    def ask(self, question: Callable[[Any], Result], seconds: float, *, again: bool) -> Result:
        """Return the answer of a question. One that got no answer, or an error, is asked once more.

        It is asked over another connection if the first was lost.

        Args:
            question: A call of the store.
            seconds: The time that it may wait. Then the store has that as its timeout.
            again: Whether it can be asked twice. Counting cannot.

        Raises:
            LostError: if there is no answer either time.
        """
        if self._lost:
            raise LostError("it gave no answer before")
        try:
            return self._ask(question, seconds, ANSWER)
        except Exception as error:
            self._broken = self._broken or isinstance(error, DistNetworkError)
            if not again and isinstance(error, LostError):
                raise
            reason = describe(error).splitlines()[0]
            if not again:
                raise LostError(reason) from error
            log.debug("the store is asked again: %s", reason)
        try:
            return self._ask(question, seconds, AGAIN)
        except LostError:
            self._lost = True
            raise
        except Exception as error:
            raise LostError(describe(error).splitlines()[0]) from error

    def second_connection(self) -> Any:
        """Return the store over another connection, which has the timeout of this one.

        Raises:
            LostError: if its host is gone.
        """
        before = self._own_timeout()
        with waiting(self.store, CONNECT):  # as long as torch tries again if the host ends just now
            store = second_connection(self.store)
        store.set_timeout(before)
        return store

    def _own_timeout(self) -> timedelta:
        if self._timeout is None:
            self._timeout = self.store.timeout
        return self._timeout

    def _ask(self, question: Callable[[Any], Result], seconds: float, answer: float) -> Result:
        if self._shared:
            before, self.store = self.store, second_connection(self.store)
            self._lent = self.store is before  # a store in a file has no connections
        elif self._broken:
            self.store = self.second_connection()
        self._shared = self._broken = False
        ask = partial(self._limit, question, seconds) if seconds else question
        return self._run(partial(ask, self.store), seconds + answer)

    def _limit(self, question: Callable[[Any], Result], seconds: float, store: Any) -> Result:
        if self._lent:
            with waiting(store, seconds):
                return question(store)
        self._own_timeout()
        store.set_timeout(timedelta(seconds=max(seconds, LEAST)))
        return question(store)

    def _run(self, question: Callable[[], Result], seconds: float) -> Result:
        def ask() -> Result:
            try:
                return question()
            finally:
                answered.set()

        answered = threading.Event()
        try:
            return run_abandonable(ask, partial(_give_up, seconds), seconds)
        finally:  # the call may have been given up, or this rank was interrupted in it
            self._broken = self._broken or not answered.is_set()


def second_connection(store: Any) -> Any:
    """Return the same store over another connection, if it has connections: a call that waits blocks all users of one.

    A store in a file has none. Each copy of it would read the whole file again, which grows with every call.

    Raises:
        LostError: if nothing listens there any more. torch itself would go on trying. It does if the server ends
            just now: the thread that connects is then left behind, until the timeout of the store.
    """
    server = _innermost(store)
    if not isinstance(server, TCPStore):
        return store
    seconds = CONNECT + AGAIN
    try:
        return run_abandonable(partial(_connect_again, store, server), partial(_give_up, seconds), seconds)
    except (OSError, DistError) as error:
        raise LostError(str(error).splitlines()[0]) from error


def _connect_again(store: Any, server: TCPStore) -> Any:
    knock(server.host, server.port, CONNECT)
    return store.clone()


def knock(address: str, port: int, seconds: float) -> None:
    """Connect to a server, and leave again; raise OSError if nothing listens there."""
    socket.create_connection((host_of(address), port), timeout=seconds).close()


def host_of(address: str) -> Any:
    """Return an address as Python's sockets take it at once.

    For a text Python imports a module. That takes 3 ms, and never ends in a thread if Ctrl-C came in an import before
    and left Python's lock of imports held.
    """
    return address.encode() if address.isascii() else address


def _give_up(seconds: float) -> None:
    raise LostError(f"no answer for {seconds:g} s")


def address_of(store: Any) -> str:
    """Return the address and port of the host of a store; empty for a store that has none, such as one in a file."""
    server = _innermost(store)
    return f"{server.host}:{server.port}" if isinstance(server, TCPStore) else ""


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


def read_together(keys: Sequence[str], seconds: float, store: Any) -> list[bytes] | None:
    """Return the values of keys as soon as all are there, in one call, or None after `seconds`."""
    with waiting(store, seconds):
        return read_in_time(keys, store)


def read_in_time(keys: Sequence[str], store: Any) -> list[bytes] | None:
    """Return the values of keys as soon as all are there, in one call, or None after the timeout of the store."""
    try:
        return [store.get(keys[0])] if len(keys) == 1 else list(store.multi_get(list(keys)))
    except RuntimeError as error:
        if not timed_out(error):
            raise
        return None


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
    store.set_timeout(timedelta(seconds=max(seconds, LEAST)))
    try:
        yield
    finally:
        store.set_timeout(before)
