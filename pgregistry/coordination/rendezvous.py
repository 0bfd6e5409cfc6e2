"""Where all ranks of a launch meet: a store that rank 0 hosts, new for every `init`."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    PrefixStore,
    Store,
    TCPStore,
)

from pgregistry.coordination.store import ANSWER, SLICE, waiting
from pgregistry.coordination.worker import run_abandonable
from pgregistry.errors import PlanMismatch
from pgregistry.settings.launcher import Launch, rendezvous_address

#: The key whose value is the prefix of all keys of one `init`.
OPEN: Final = "pgregistry/open"
#: The key in the store of torchrun's agent that says where rank 0 hosts its own.
WHERE: Final = "pgregistry/where"
#: How long a rank waits before it tries again, at least and at most, in seconds.
PAUSE: Final = 0.03
LONGEST_PAUSE: Final = 1.0
#: How often all ranks together knock at a store that is not open yet, per second, as far as the pauses allow.
KNOCKS: Final = 1000
#: How long one attempt to connect may take, in seconds; a packet that got lost is sent again after one.
CONNECT: Final = 3.0


@dataclass(frozen=True, slots=True)
class Connection:
    """A store that all ranks of a launch reach.

    Attributes:
        store: For the world.
        aside: The same by another connection: one that waits blocks whoever else uses it.
        hosts: Whether this process hosts it.
    """

    store: Store
    aside: Store
    hosts: bool


def connect(launch: Launch, environ: Mapping[str, str], seconds: float) -> Connection:
    """Meet the other ranks of a launch.

    torch's own rendezvous waits for all ranks here and then cannot say which one is missing, so
    nobody waits: `agree` finds out who is there. Rank 0 hosts the store also where torchrun's
    agent has one, which then only tells where. That one has the keys of earlier rounds of workers,
    and nothing that a worker knows tells rounds apart: agents of several hosts count restarts
    differently. A store of its own dies with rank 0, so nobody meets a round that is over.

    Raises:
        PlanMismatch: if rank 0 does not answer within `seconds`.
    """
    address, port = rendezvous_address(launch, environ)
    agent = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    meet = _host if launch.rank == 0 else partial(_join, launch.rank)
    until = time.monotonic() + seconds
    while True:
        try:
            return run_abandonable(
                partial(meet, address, port, agent, launch.world_size, until), _silent, _left(until) + ANSWER
            )
        except (OSError, OverflowError, RuntimeError, UnicodeError) as error:
            # An earlier store may be about to close, and nobody may listen where rank 0 was before a restart.
            again = isinstance(error, OSError | DistNetworkError | DistStoreError) and launch.rank != 0
            if again and time.monotonic() < until:
                time.sleep(min(_pause(launch.world_size), _left(until)))
                continue
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if launch.rank == 0:
                raise PlanMismatch(
                    f"Rank 0 of {launch.world_size} could not open the store at {address}:{port}, where all ranks "
                    f"meet.\n  {reason}"
                ) from error
            there = f"that torchrun's agent at {address}:{port} knows" if agent else f"at {address}:{port}"
            raise PlanMismatch(
                f"Rank {launch.rank} of {launch.world_size}: the store {there}, which rank 0 hosts, did not answer "
                f"within {seconds:g} s.\n  {reason}"
            ) from error


def _silent() -> None:
    raise TimeoutError("the connection went silent")


def _host(address: str, port: int, agent: bool, world_size: int, until: float) -> Connection:
    """Open a store, and say that it is open."""
    told = None
    if agent:
        told, address = _reach(address, port, world_size, until)
        port = 0
    store = _tcp(address, port, world_size, until, hosts=True)
    word = secrets.token_hex(8)
    store.set(OPEN, word)
    if told is not None:
        told.set(WHERE, f"{address} {store.port}")
    return _connection(store, word, hosts=True)


def _join(rank: int, address: str, port: int, agent: bool, world_size: int, until: float) -> Connection:
    """Reach the store that rank 0 opened last."""
    if agent:
        told, _ = _reach(address, port, world_size, until)
        with waiting(told, _left(until)):
            address, number = told.get(WHERE).decode().split()
        port = int(number)
    # Where the agent tells, it may tell where rank 0 was before a restart: ask again rather than wait there.
    store, _ = _reach(address, port, world_size, until, patient=not agent)
    with waiting(store, min(_left(until), ANSWER)):
        word = store.get(OPEN).decode()
    if store.add(f"{word}/came/{rank}", 1) > 1:
        raise ConnectionError(f"rank 0 has not come again; its last store at {address}:{port} is about to close")
    return _connection(store, word, hosts=False)


def _connection(store: Any, word: str, *, hosts: bool) -> Connection:
    return Connection(PrefixStore(word, store), PrefixStore(word, store.clone()), hosts)


def _reach(address: str, port: int, world_size: int, until: float, *, patient: bool = True) -> tuple[Any, str]:
    """A store that somebody hosts, and the address of this host as seen from there."""
    mine = _knock(address, port, _pause(world_size), until, patient=patient)
    soon = time.monotonic() + SLICE  # torch goes on trying until then where the store closes just now
    return _tcp(address, port, world_size, max(until, soon) if patient else soon, hosts=False), mine


def _tcp(address: str, port: int, world_size: int, until: float, *, hosts: bool) -> Any:
    return TCPStore(
        address,
        port,
        world_size,
        is_master=hosts,
        timeout=timedelta(seconds=_left(until)),
        wait_for_workers=False,
        multi_tenant=True,
    )


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.01)


def _pause(world_size: int) -> float:
    return min(max(world_size / KNOCKS, PAUSE), LONGEST_PAUSE)


def _knock(address: str, port: int, pause: float, until: float, *, patient: bool) -> str:
    """Wait until somebody listens: torch's own retries take up to twice the time and say so at length."""
    host: Any = address.encode() if address.isascii() else address  # Python takes 3 ms to get ready to encode one
    while True:
        try:
            with socket.create_connection((host, port), timeout=min(_left(until), CONNECT)) as connection:
                return str(connection.getsockname()[0])
        except OSError:
            if not patient or time.monotonic() >= until:
                raise
        time.sleep(min(pause, _left(until)))
