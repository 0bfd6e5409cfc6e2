"""The rendezvous of all ranks of a launch: a store that rank 0 hosts, new for every `init`."""

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
    HashStore,
    PrefixStore,
    Store,
    TCPStore,
)

from pgregistry.coordination.abandonable import check_given_up, run_abandonable
from pgregistry.coordination.store.connections import ANSWER, waiting
from pgregistry.coordination.store.scoped_store import SLICE
from pgregistry.errors import PlanMismatch, describe
from pgregistry.settings.launcher import Launch, rendezvous_address

#: The key whose value is the prefix of all keys of one `init`.
OPEN: Final = "pgregistry/open"
#: The key in the store of torchrun's agent that holds the address of the store of rank 0.
WHERE: Final = "pgregistry/where"
#: Seconds for which a rank waits before it tries again, at least and at most.
PAUSE: Final = 0.03
LONGEST_PAUSE: Final = 1.0
#: Attempts a second of all ranks together to reach a store that is not open yet, as far as the pauses allow.
KNOCKS: Final = 1000
#: Seconds after which a rank reads the address of the store again, if torch cannot connect to it.
AGAIN_SOON: Final = 1.0
#: Seconds that one attempt to connect may take. A packet that got lost is sent again after one.
CONNECT: Final = 3.0


@dataclass(frozen=True, slots=True)
class Connection:
    """A store that all ranks of a launch reach.

    Attributes:
        store: The store, for the default process group.
        aside: The same store over another connection: a call that waits blocks all users of one.
        server: The store's server, if this process hosts it. It ends when nothing refers to it any more, and with
            it all waits in the store, on all ranks.
    """

    store: Store
    aside: Store
    server: Store | None


def connect(launch: Launch, environ: Mapping[str, str], seconds: float) -> Connection:
    """Meet the other ranks of a launch.

    torch's own rendezvous waits for all ranks and then cannot name the one that is missing. So no
    rank waits here: the agreement finds out which ranks have come. Rank 0 hosts the store even if
    torchrun's agent has one. The agent's store then only holds the address, for it also holds the
    keys of earlier rounds of workers, and a worker cannot tell rounds apart: agents of several hosts
    count restarts differently. A store of its own dies with rank 0, so no rank meets a round that is
    over.

    A world of 1 has nobody to meet, and needs no address.

    Raises:
        PlanMismatch: if rank 0 does not answer within `seconds`.
    """
    if launch.world_size == 1:
        store = PrefixStore(secrets.token_hex(8), HashStore())
        return Connection(store, store, None)
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
            # An earlier store may be about to close, and the address may be that of rank 0 before a restart.
            again = isinstance(error, OSError | DistNetworkError | DistStoreError) and launch.rank != 0
            if again and time.monotonic() < until:
                time.sleep(min(_pause(launch.world_size), _left(until)))
                continue
            reason = describe(error).splitlines()[0]
            if launch.rank == 0:
                raise PlanMismatch(
                    f"Rank 0 of {launch.world_size} could not open the store at {address}:{port}, where all ranks "
                    f"meet.\n  {reason}"
                ) from error
            there = f"whose address torchrun's agent at {address}:{port} has" if agent else f"at {address}:{port}"
            raise PlanMismatch(
                f"Rank {launch.rank} of {launch.world_size}: the store {there}, which rank 0 hosts, did not answer "
                f"within {seconds:g} s.\n  {reason}"
            ) from error


def _silent() -> None:
    raise TimeoutError("the connection went silent")


def _host(address: str, port: int, agent: bool, world_size: int, until: float) -> Connection:
    """Open a store, and publish its address."""
    agent_store = None
    if agent:
        agent_store, address = _reach(address, port, world_size, until)
        port = 0
    store = _tcp(address, port, world_size, until, hosts=True)
    prefix = secrets.token_hex(8)
    store.set(OPEN, prefix)
    if agent_store is not None:
        agent_store.set(WHERE, f"{address} {store.port}")
    return _connection(store, prefix, server=store)


def _join(rank: int, address: str, port: int, agent: bool, world_size: int, until: float) -> Connection:
    """Reach the store that rank 0 opened last."""
    if agent:
        agent_store, _ = _reach(address, port, world_size, until)
        with waiting(agent_store, _left(until)):
            address, number = agent_store.get(WHERE).decode().split()
        port = int(number)
    # The agent may have the address of rank 0 before a restart: read it again rather than wait there.
    store, _ = _reach(address, port, world_size, until, patient=not agent)
    with waiting(store, min(_left(until), ANSWER)):
        prefix = store.get(OPEN).decode()
    check_given_up()
    if store.add(f"{prefix}/came/{rank}", 1) > 1:
        raise ConnectionError(f"rank 0 has not come again; its last store at {address}:{port} is about to close")
    return _connection(store, prefix)


def _connection(store: Any, prefix: str, server: Store | None = None) -> Connection:
    return Connection(
        PrefixStore(prefix, store.clone() if server else store), PrefixStore(prefix, store.clone()), server
    )


def _reach(address: str, port: int, world_size: int, until: float, *, patient: bool = True) -> tuple[Any, str]:
    """Connect to a store, and return it with the address of this host as the other side sees it."""
    mine = _knock(address, port, _pause(world_size), until, patient=patient)
    # torch goes on trying until then if the store closes just now. Where the address is read again, that may be soon.
    soon = time.monotonic() + (SLICE if patient else AGAIN_SOON)
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
    """Wait until a process listens: torch's own retries take up to twice the time, and log at length."""
    host: Any = address.encode() if address.isascii() else address  # Python takes 3 ms to get ready to encode one
    while True:
        try:
            with socket.create_connection((host, port), timeout=min(_left(until), CONNECT)) as connection:
                return str(connection.getsockname()[0])
        except OSError:
            if not patient or time.monotonic() >= until:
                raise
        time.sleep(min(pause, _left(until)))
