"""The store as ranks use it before and while they build: a corner of its own for each `init`."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    PrefixStore,
    Store,
    TCPStore,
)

from pgregistry.errors import PlanMismatch
from pgregistry.launcher import Launch

#: A server of torch takes a limited number of keys in one request, and takes longer for each the more there are.
CHUNK: Final = 1024
#: How long one wait takes before a rank looks around, in seconds.
SLICE: Final = 5.0


class LostError(Exception):
    """The store does not answer any more: the process that hosts it is gone."""


class Board:
    """The keys of one `init` among some ranks.

    Each rank counts its own calls of `init` in the store, so keys of an earlier call are never
    met, also where the store outlives the world (torchrun's agent hosts one).

    Attributes:
        rank: This rank.
        ranks: The ranks that take part, ascending.
        name: A prefix that no other `init` among these ranks uses.
        store: The store, below that prefix.
        host: Who hosts the store, in words.
    """

    def __init__(self, store: Store, rank: int, ranks: Sequence[int], *, everybody: bool, host: str = "rank 0") -> None:
        self.rank = rank
        self.ranks = ranks
        self.host = host
        among = "all" if everybody else hashlib.blake2b(repr(tuple(ranks)).encode(), digest_size=6).hexdigest()
        with connected():
            call = store.add(f"pgregistry/{among}/calls/{rank}", 1)
        self.name = f"pgregistry/{among}/{call}"
        self._whole = store  # torch keeps only the C++ half of a store made in Python
        self.store: Any = PrefixStore(self.name, store)

    def set(self, key: str, value: str) -> None:
        """Write a key; nobody waits for it."""
        with connected():
            self.store.set(key, value)

    def write(self, values: Mapping[str, str]) -> None:
        """Write several keys in one call."""
        with connected():
            self.store.multi_set(list(values), list(values.values()))

    def first(self, key: str, value: str) -> str:
        """The value that the first rank gave to a key, which may be this one."""
        with connected():
            return _text(self.store.compare_set(key, "", value))

    def count(self, key: str) -> int:
        """Add one to a number, and read it."""
        with connected():
            return int(self.store.add(key, 1))

    def has(self, key: str) -> bool:
        """Whether a key is there."""
        with connected():
            return bool(self.store.check([key]))

    def read(self, keys: Sequence[str], seconds: float) -> list[str] | None:
        """The values of keys, as soon as all are there; None if they are not within `seconds`."""
        deadline, values = time.monotonic() + seconds, list[str]()
        for chunk in chunks(keys):
            with connected(), waiting(self.store, max(deadline - time.monotonic(), 0.001)):
                try:
                    got = [self.store.get(chunk[0])] if len(chunk) == 1 else self.store.multi_get(list(chunk))
                except RuntimeError as error:
                    if not timed_out(error):
                        raise
                    return None
            values += map(_text, got)
        return values

    def watch(self, key: str, until: float, look_around: Callable[[], None] = lambda: None) -> str | None:
        """The value of a key; None at the time `until`. Looks around every few seconds meanwhile."""
        while (left := until - time.monotonic()) > 0:
            values = self.read([key], min(left, SLICE))
            if values is not None:
                return values[0]
            look_around()
        return None


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys in runs that one request can hold."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def timed_out(error: RuntimeError) -> bool:
    """Whether a store only says that a key did not come in time; each kind says it in its own words."""
    return isinstance(error, DistStoreError) or (type(error) is RuntimeError and str(error).startswith("Timeout"))


@contextmanager
def connected() -> Iterator[None]:
    """Turn torch's word for a lost connection into ours; a plain timeout passes through."""
    try:
        yield
    except DistNetworkError as error:
        raise LostError(str(error).splitlines()[0]) from error


@contextmanager
def waiting(store: Any, seconds: float) -> Iterator[None]:
    """Set how long the store waits, and set it back: a `get` has no timeout of its own."""
    before = store.timeout
    store.set_timeout(timedelta(seconds=seconds))
    try:
        yield
    finally:
        store.set_timeout(before)


@dataclass(frozen=True, slots=True)
class Connection:
    """A store that a launcher points to.

    Attributes:
        store: For the world.
        aside: The same by another connection: one that waits blocks whoever else uses it.
        hosts: Whether this process hosts it.
        agent: Whether torchrun's agent does, so that it outlives the world.
        host: Who does, in words.
    """

    store: Store
    aside: Store
    hosts: bool
    agent: bool
    host: str


def connect(launch: Launch, environ: Mapping[str, str], seconds: float) -> Connection:
    """The store that the launcher points to.

    torch's own rendezvous waits for all ranks here and then cannot say which one is missing, so
    nobody waits: `agree` finds out who is there.

    Raises:
        PlanMismatch: if the host of the store does not answer within `seconds`.
    """
    address, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    agent = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    hosts = launch.rank == 0 and not agent
    host = "torchrun's agent" if agent else "rank 0"
    until = time.monotonic() + seconds
    while True:
        try:
            if not hosts:
                _knock(address, port, until - time.monotonic())
            store: Any = TCPStore(
                address,
                port,
                launch.world_size,
                is_master=hosts,
                timeout=timedelta(seconds=seconds),
                wait_for_workers=False,
                multi_tenant=True,
            )
            aside = store.clone()
            aside.check(["answers"])
            break
        except (OSError, OverflowError, RuntimeError) as error:
            # Whoever hosted a store at this port for an earlier world may be about to close it.
            if isinstance(error, DistNetworkError) and not hosts and time.monotonic() < until:
                time.sleep(0.05)
                continue
            what = "could not be opened" if hosts else f"did not answer within {seconds:g} s"
            raise PlanMismatch(
                f"Rank {launch.rank} of {launch.world_size}: the store at {address}:{port}, which {host} hosts, "
                f"{what}.\n  {type(error).__name__}: {str(error).splitlines()[0]}"
            ) from error
    if agent:  # its keys outlive the workers
        attempt = f"pgregistry/{environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{launch.world_size}"
        store, aside = PrefixStore(attempt, store), PrefixStore(attempt, aside)
    return Connection(store, aside, hosts, agent, host)


def _knock(address: str, port: int, seconds: float) -> None:
    """Wait until somebody listens: torch's own retries take up to twice the time and say so at length."""
    until, pause = time.monotonic() + seconds, 0.02
    while True:
        try:
            socket.create_connection((address, port), timeout=max(until - time.monotonic(), 0.01)).close()
            return
        except OSError:
            if time.monotonic() >= until:
                raise
        time.sleep(min(pause, max(until - time.monotonic(), 0)))
        pause = min(pause * 1.5, 1.0)


def environment(names: Iterable[str]) -> dict[str, str]:
    """Those of some environment variables that are set."""
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}
