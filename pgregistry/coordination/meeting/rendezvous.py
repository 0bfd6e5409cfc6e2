"""The rendezvous of all ranks of a launch: a store that rank 0 hosts, new for every `init`."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
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
from pgregistry.coordination.meeting.claim import OPEN, Claim, refuse_second
from pgregistry.coordination.meeting.route import Waiting, is_loopback, joined, own_address
from pgregistry.coordination.store.codec import WRONG_DATA
from pgregistry.coordination.store.connections import ANSWER, waiting
from pgregistry.coordination.store.scoped_store import SLICE
from pgregistry.errors import PlanMismatch, describe
from pgregistry.settings.launchers.address import rendezvous_address
from pgregistry.settings.launchers.launcher import Launch

log = logging.getLogger("pgregistry")

#: The key in the store of torchrun's agent that holds the address of the store of rank 0.
WHERE: Final = "pgregistry/where"
#: Seconds for which a rank waits before it tries again, at least and at most.
PAUSE: Final = 0.03
LONGEST_PAUSE: Final = 1.0
#: Attempts a second of all ranks together to reach a store that is not open yet, as far as the pauses allow.
KNOCKS: Final = 1000
#: Seconds after which a rank reads the address of the store again, if torch cannot connect to it.
AGAIN_SOON: Final = 1.0
#: Connections of one rank to the store: torch's, the one beside it, and that of the watch.
CONNECTIONS: Final = 3
#: Seconds for which the store of an earlier round, in which another process had this rank, may stay open.
CLOSING: Final = 3.0


@dataclass(frozen=True, slots=True)
class Connection:
    """A store that all ranks of a launch reach.

    Attributes:
        store: The store, for the default process group.
        aside: The same store over another connection: a call that waits blocks all users of one.
        server: The store's server, if this process hosts it. It ends when nothing refers to it any more, and with
            it all waits in the store, on all ranks.
        own_address: The address of this host on the way to the store; empty if there is no way to other hosts.
    """

    store: Store
    aside: Store
    server: Store | None
    own_address: str = ""


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
        PlanMismatch: if rank 0 does not answer within `seconds`, the store is that of another job, or another
            process has this rank.
    """
    if launch.world_size == 1:
        store = PrefixStore(Claim("").token, HashStore())
        return Connection(store, store, None)
    address, port = rendezvous_address(launch, environ)
    agent = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    meeting = _Meeting(launch, address, port, agent, time.monotonic() + seconds)
    meet = meeting.host if launch.rank == 0 else meeting.join
    while True:
        try:
            return run_abandonable(meet, _silent, meeting.wait.left + ANSWER)
        except (OSError, OverflowError, RuntimeError, UnicodeError) as error:
            # An earlier store may be about to close, and the address may be that of rank 0 before a restart.
            again = isinstance(error, OSError | DistNetworkError | DistStoreError) and launch.rank != 0
            if again and not meeting.wait.over:
                meeting.wait.pause(joined(address, port), error)
                continue
            raise PlanMismatch(_failed(launch, environ, meeting, error, seconds)) from error


def _failed(launch: Launch, environ: Mapping[str, str], meeting: _Meeting, error: BaseException, seconds: float) -> str:
    """Return the text for a store that cannot be opened or reached, with the variables that have its address."""
    place, size = joined(meeting.address, meeting.port), launch.world_size
    given = [name for name in ("MASTER_ADDR", "MASTER_PORT") if environ.get(name)]
    said = f"{' and '.join(given)} (environment)" if given else f"what {launch.launcher} says of hosts"
    reason, way_out = describe(error).splitlines()[0], "Look at the log of rank 0."
    if isinstance(error, socket.gaierror):
        way_out = "It must be a name that resolves on every rank, or an IP address."
    elif launch.rank == 0 and "EADDRINUSE" in reason:
        way_out = "Another process has that port: choose another MASTER_PORT, on all ranks."
    elif launch.rank == 0:
        way_out = "MASTER_ADDR must be an address of the host of rank 0, and MASTER_PORT a port that is free there."
    if launch.rank == 0:
        opened = f"Rank 0 of {size} could not open the store at {place}, where all ranks meet."
        return f"{opened}\n  {reason}\n  The address comes from {said}. {way_out}"
    there = f"whose address torchrun's agent at {place} has" if meeting.agent else f"at {place}"
    return (
        f"Rank {launch.rank} of {size}: the store {there}, which rank 0 hosts, did not answer within {seconds:g} s.\n"
        f"  {reason}\n  The address comes from {said}. {way_out}"
    )


def warn_of_descriptors(ranks: int) -> None:
    """Warn if this process may not have as many descriptors as a store needs that so many ranks connect to."""
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # of Unix alone
        return
    allowed, _ = getrlimit(RLIMIT_NOFILE)
    if 0 <= allowed < CONNECTIONS * ranks:
        log.warning(
            "pgregistry: %d ranks have up to %d connections each to the store of rank 0, but this process may have "
            "only %d descriptors. Ranks beyond that cannot connect: raise the limit (ulimit -n) where rank 0 starts.",
            *(ranks, CONNECTIONS, allowed),
        )


def _silent() -> None:
    raise TimeoutError("the connection went silent")


class _Meeting:
    """The way of one rank to the store that rank 0 hosts."""

    def __init__(self, launch: Launch, address: str, port: int, agent: bool, until: float) -> None:
        self.address, self.port, self.agent = address, port, agent
        self.wait = Waiting(launch.rank, min(max(launch.world_size / KNOCKS, PAUSE), LONGEST_PAUSE), until)
        self._rank, self._size = launch.rank, launch.world_size
        self._claim = Claim(launch.job)
        self._met: dict[str, float] = {}  # by the token of a store: when another process had this rank there

    def host(self) -> Connection:
        """Open a store, and publish its address."""
        address, port, agent_store = self.address, self.port, None
        if self.agent:
            agent_store = self._reach(address, port)
            address, port = own_address(address, port) or address, 0
        else:
            self.wait.resolve(address, port)
        try:
            store = self._tcp(address, port, self.wait.until, hosts=True)
        except DistNetworkError as error:
            if "EADDRINUSE" in str(error):
                with suppress(OSError, RuntimeError):  # what is there may not be a store, and torch would wait for it
                    run_abandonable(partial(self._check_port, address, port), _silent, CLOSING)
            raise
        warn_of_descriptors(self._size)
        found = Claim.decode(store.compare_set(OPEN, "", self._claim.encode()), OPEN)
        if found.process == self._claim.process:
            store.set(OPEN, self._claim.encode())
        else:  # the address is that of another host, with a store
            self._check_opener(store)
        if agent_store is not None:
            # The agent is on this host. If it knows itself as a loopback address, others reach both by the agent's.
            agent_store.set(WHERE, json.dumps(["" if is_loopback(address) else address, store.port]))
        return self._connection(store, self._claim.token, server=store)

    def _check_port(self, address: str, port: int) -> None:
        """Raise PlanMismatch if a store of ranks is at a port that is in use."""
        self._check_opener(self._tcp(address, port, time.monotonic() + CLOSING))

    def _check_opener(self, store: Any) -> None:
        """Raise PlanMismatch if another rank 0 opened a store, as its claim shows."""
        with waiting(store, CLOSING):
            found = Claim.decode(store.get(OPEN), OPEN)
        self._claim.check_job(found, 0, joined(self.address, self.port))
        raise refuse_second(PrefixStore(found.token, store), 0, self._size, self._claim, found)

    def join(self) -> Connection:
        """Reach the store that rank 0 opened last."""
        address, port = self.address, self.port
        if self.agent:
            agent_store = self._reach(address, port)
            with waiting(agent_store, self.wait.left):
                address, port = _place(agent_store.get(WHERE), address)
        # The agent may have the address of rank 0 before a restart: read it again rather than wait there.
        store = self._reach(address, port, patient=not self.agent)
        with waiting(store, min(self.wait.left, ANSWER)):
            opened = Claim.decode(store.get(OPEN), OPEN)
        check_given_up()
        self._claim.check_job(opened, self._rank, joined(address, port))
        key = f"{opened.token}/came/{self._rank}"
        first = Claim.decode(store.compare_set(key, "", self._claim.encode()), key)
        if first.token != self._claim.token:
            since = self._met.setdefault(opened.token, time.monotonic())
            if first.process != self._claim.process and time.monotonic() > since + CLOSING:
                raise refuse_second(PrefixStore(opened.token, store), self._rank, self._size, self._claim, first)
            raise ConnectionError(f"its last store, in which {first.process} was rank {self._rank}, has not closed yet")
        return self._connection(store, opened.token)

    def _connection(self, store: Any, prefix: str, server: Store | None = None) -> Connection:
        mine, aside = (PrefixStore(prefix, one) for one in (store.clone() if server else store, store.clone()))
        return Connection(mine, aside, server, own_address(self.address, self.port))

    def _reach(self, address: str, port: int, *, patient: bool = True) -> Any:
        """Connect to a store."""
        self.wait.knock(address, port, patient=patient)
        # torch tries until then if the store closes just now. Where the address is read again, that may be soon.
        soon = time.monotonic() + (SLICE if patient else AGAIN_SOON)
        return self._tcp(address, port, max(self.wait.until, soon) if patient else soon)

    def _tcp(self, address: str, port: int, until: float, *, hosts: bool = False) -> Any:
        return TCPStore(
            address,
            port,
            self._size,
            is_master=hosts,
            timeout=timedelta(seconds=max(until - time.monotonic(), 0.01)),
            wait_for_workers=False,
            multi_tenant=True,
        )


def _place(text: bytes, agent: str) -> tuple[str, int]:
    """Return the address and the port that rank 0 published."""
    try:
        address, port = json.loads(text[:1000])
        if not (isinstance(address, str) and isinstance(port, int) and 0 < port < 1 << 16):
            raise TypeError(text)
    except WRONG_DATA as error:
        raise PlanMismatch(
            f"The store of torchrun's agent holds what no rank wrote, in key {WHERE}: another program writes to it."
        ) from error
    return address or agent, port
