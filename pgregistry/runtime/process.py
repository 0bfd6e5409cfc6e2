"""The place of this process among all ranks, and the run's settings beside the plan."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import HashStore  # type: ignore[attr-defined]

from pgregistry.building.communicators.availability import check_known
from pgregistry.building.communicators.backend import FAKE, accelerator
from pgregistry.coordination.meeting.claim import START
from pgregistry.coordination.meeting.rendezvous import connect
from pgregistry.coordination.meeting.route import is_loopback
from pgregistry.coordination.places.arrivals import Arrivals
from pgregistry.coordination.places.place import Place
from pgregistry.coordination.store.connections import LostError, StoreClient
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import ConfigError, PlanMismatch, text_of
from pgregistry.planning.plans.plan import Plan
from pgregistry.settings.launchers import launcher, slurm
from pgregistry.settings.launchers.launcher import Launch
from pgregistry.settings.merge import ConfigValue, Settings
from pgregistry.values import shown

log = logging.getLogger("pgregistry")


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The options of `init` beside those of the plan; times are in seconds."""

    backend: str | None = None
    device: torch.device | str | int | None = None
    timeout: float | None = None
    cpu: bool = False
    agree_timeout: float = 300
    build_timeout: float = 300
    watch: float = 300
    watch_dir: str | None = None

    @staticmethod
    def of(settings: Settings) -> InitOptions:
        """Return the options in the one form in which ranks compare them.

        Raises:
            ConfigError: if the device is none of torch.
        """
        given = {name: one.value for name, one in settings.run.items() if name != "expect"}
        if device := settings.run.get("device"):
            given["device"] = _device(device)
        if backend := settings.run.get("backend"):
            check_known(backend.value, f"backend = {shown(backend.value)} ({backend.origin})")
        return InitOptions(**given)

    @staticmethod
    def patient(settings: Settings) -> InitOptions:
        """Return the options with only `agree_timeout`, which counts even if the others cannot be read."""
        given = settings.run.get("agree_timeout")
        return InitOptions(agree_timeout=given.value) if given else InitOptions()


def _device(given: ConfigValue[Any]) -> torch.device | None:
    """Return the device to bind the default process group to; the CPU binds nothing.

    Raises:
        ConfigError: if torch does not find it on this host.
    """
    try:
        device = torch.device(given.value)
    except Exception as error:  # of torch, or of an object of anybody's
        why = text_of(error).partition("\n")[0]
        raise ConfigError(f"device = {shown(given.value)} ({given.origin}) must be a torch device: {why}") from error
    if device.type == "cpu":
        return None
    kind = accelerator()
    count = torch.accelerator.device_count() if kind else 0
    if device.type != kind or (device.index or 0) >= count:
        found = f"{kind}:0 to {kind}:{count - 1}" if kind else "no accelerator"
        raise ConfigError(
            f"device = {shown(given.value)} ({given.origin}) must be a device that torch finds on this host; it finds "
            f"{found}.\n  Leave device out to bind the process groups to none."
        )
    return device


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """The place of this process among all ranks.

    Attributes:
        rank: Its rank.
        world_size: How many ranks there are.
        store: The launcher's store, or that of the existing world.
        client: The same store over another connection, for calls beside torch, which may block the first.
        owns_world: Whether `init` is to start the default process group.
        hosts: Whether other ranks may lose the store when this process ends.
        server: The server of the store, if `init` started it in this process. Clear the list to end it.
        host: The process that hosts the store, in words.
        fake: Whether the world is one of torch's backend `fake`, in which there is nobody to agree with.
        launch: What its launcher says, or None if none started it in this world.
        own_address: The address of this host on the way to the store; empty if it is not known.
    """

    rank: int
    world_size: int
    store: Any
    client: StoreClient
    owns_world: bool
    hosts: bool
    host: str = "another process"
    fake: bool = False
    launch: Launch | None = None
    own_address: str = ""
    server: list[Any] = field(default_factory=list)

    @property
    def local_rank(self) -> int | None:
        """Return its rank among those of its host, or None if the launcher does not set it."""
        return self.launch.local_rank if self.launch else None

    @property
    def origin(self) -> str:
        """Return where the world size comes from."""
        return "default process group" if self.launch is None or not self.owns_world else self.launch.world_size_from

    def arrivals(self, scope: ScopedStore, plan: Plan | None) -> Arrivals:
        """Return the ranks that come to the agreement in a scope, where this one is to sign."""
        launch, host = self.launch, os.uname().nodename
        domain = slurm.domain(os.environ, "" if launch and launch.launcher == "Slurm" else host)
        numbered = bool(launch and launch.launcher == "torchrun" and launch.node and not launch.one_host)
        place = partial(self._place, host, domain)
        return Arrivals(scope, place, plan, numbered=numbered, one_host=self.one_host, domain=domain)

    def _place(self, host: str, domain: str) -> Place:
        launch, address = self.launch, self.own_address
        node, local_rank = (launch.node, launch.local_rank) if launch else ("", None)
        return Place(host, node, local_rank, address if address and not is_loopback(address) else "", domain)

    @property
    def one_host(self) -> bool:
        """Return whether all ranks are known to be on one host, by the launcher or by a loopback MASTER_ADDR."""
        if self.world_size == 1 or (self.launch and self.launch.one_host):
            return True
        return is_loopback(os.environ.get("MASTER_ADDR", ""))

    def scope(self, ranks: Sequence[int]) -> ScopedStore:
        """Return the scope of this `init` among some ranks.

        Raises:
            PlanMismatch: if the store is gone.
        """
        everybody = len(ranks) == self.world_size
        # The world that is started has another store, where calls are counted anew.
        below = START if self.owns_world else "pgregistry"
        try:
            return ScopedStore.open(
                self.client.store,
                self.rank,
                ranks,
                everybody=everybody,
                host=self.host,
                below=below,
                client=self.client,
            )
        except LostError as error:
            raise PlanMismatch(
                f"Rank {self.rank}: {self.host}, which hosts the store, is gone before all ranks agreed ({error})."
            ) from error


def is_first() -> bool:
    """Return whether this process is rank 0; True if that is not known before ranks meet."""
    if dist.is_initialized():
        return dist.get_rank() == 0
    with suppress(ConfigError):
        launch = launcher.read(os.environ)
        return launch is None or launch.rank == 0
    return True


def find_process(patience: Callable[[], float]) -> ProcessInfo:
    """Find this process in the existing world, or in the environment that its launcher set.

    Args:
        patience: Returns the seconds for which it waits for rank 0. Not called in a world that exists: there the other
            ranks wait for this one, which can tell them what ends it when it is found.

    Raises:
        ConfigError: if neither gives a rank.
        PlanMismatch: if the store does not answer.
    """
    world = dist.group.WORLD
    if dist.is_initialized() and world is not None:
        return _in_world(world)
    launch = launcher.read(os.environ)
    if launch is None:
        launch = launcher.alone(os.environ)
        log.warning(
            "No launcher has set a rank, so this process is a world of 1. Start several with torchrun "
            "--nproc-per-node N …, or call torch.distributed.init_process_group before init()."
        )
    connection = connect(launch, os.environ, patience())
    return ProcessInfo(
        rank=launch.rank,
        world_size=launch.world_size,
        store=connection.store,
        client=StoreClient(connection.aside, timeout=dist.default_pg_timeout),
        owns_world=True,
        hosts=connection.server is not None,
        server=[connection.server],
        host="rank 0",
        launch=launch,
        own_address=connection.own_address,
    )


def _in_world(world: dist.ProcessGroup) -> ProcessInfo:
    rank, size, fake = dist.get_rank(), dist.get_world_size(), dist.get_backend() == FAKE
    if not 0 <= rank < size:
        raise ConfigError(f"The default process group has rank {rank}, which must be from 0 to {size - 1}.")
    store: Any = HashStore() if fake else world.get_group_store()
    client = StoreClient(store, shared=True)  # a user's store keeps its timeout, and its calls do not wait for ours
    launch = launcher.of_world(os.environ, rank, size)
    if launch is None and not fake:
        _warn_of_another_world(rank, size)
    return ProcessInfo(rank, size, store, client, owns_world=False, hosts=rank == 0, fake=fake, launch=launch)


def _warn_of_another_world(rank: int, size: int) -> None:
    """Warn if the environment has another world size than the world that is there: that world counts."""
    with suppress(ConfigError):
        if rank == 0 and (said := launcher.world_size(os.environ)) not in (None, size):
            log.warning(
                "pgregistry: the default process group is there already, with a world size of %d, so it counts and "
                "not %s = %d (environment). To start a world of that size, call init() without "
                "torch.distributed.init_process_group before it.",
                *(size, launcher.world_size_variable(os.environ), said),
            )
