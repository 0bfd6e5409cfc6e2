"""The world: where this process stands in it, and the default process group where `init` starts it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from pgregistry.building.build import how
from pgregistry.building.gloo import gloo_environment
from pgregistry.building.watchdog import check_others, lost, missing
from pgregistry.coordination.agreement import LEAVE
from pgregistry.coordination.rendezvous import connect
from pgregistry.coordination.store import Board, LostError, another, connected, timed_out
from pgregistry.coordination.worker import Worker, in_thread
from pgregistry.errors import BuildError, ConfigError, PgregistryError, PlanMismatch, PluginError
from pgregistry.settings import launcher
from pgregistry.values import LONGEST, check_backend, check_timeout

#: How long a rank that waits for the default process group goes on before it looks whether one failed, in seconds.
LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """What `init` takes beside the plan."""

    backend: str | None = None
    device: torch.device | str | int | None = None
    timeout: float | None = None
    cpu: bool = False
    agree_timeout: float = 300
    build_timeout: float = 300

    def patience(self) -> float:
        """`agree_timeout`, or the default where that is wrong: a rank that fails takes part all the same."""
        good = isinstance(self.agree_timeout, int | float) and 0 < self.agree_timeout <= LONGEST
        return self.agree_timeout if good else 300

    def check(self) -> None:
        """Refuse what cannot be; ConfigError."""
        try:
            check_backend(self.backend, "init()")
            for name in ("timeout", "agree_timeout", "build_timeout"):
                if check_timeout(getattr(self, name), "init()", name) is None and name != "timeout":
                    raise ConfigError(f"init() has {name}=None; it takes a number of seconds.")
        except PluginError as error:
            raise ConfigError(str(error)) from None
        try:
            torch.device("cpu" if self.device is None else self.device)
        except (RuntimeError, TypeError) as error:
            raise ConfigError(f"device = {self.device!r} is no torch device: {str(error).splitlines()[0]}") from error
        if not isinstance(self.cpu, bool):
            raise ConfigError(f"init() has cpu={self.cpu!r}; it takes True or False.")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands: its rank, and the store that all ranks reach.

    Attributes:
        rank: This rank.
        world_size: How many there are.
        store: The launcher's store, or the one of the world that exists.
        aside: The same by another connection, where this rank may block in torch meanwhile.
        owns_world: Whether the world is still to be started.
        hosts: Whether others may lose the store when this process ends.
        host: Who hosts the store, in words.
        local_rank: Which of its host's ranks this is; None where nobody says.
        worker: Who asks the store, for all boards.
    """

    rank: int
    world_size: int
    store: Any
    aside: Any
    owns_world: bool
    hosts: bool
    host: str = "another process"
    local_rank: int | None = None
    worker: Worker = field(default_factory=Worker)

    def board(self, ranks: Sequence[int]) -> Board:
        """A corner of the store for one `init` among some ranks; PlanMismatch if the store is gone."""
        everybody = len(ranks) == self.world_size
        # The world that is started has another store, where calls are counted anew; names must differ all the same.
        below = "pgregistry/start" if self.owns_world else "pgregistry"
        try:
            return Board(
                self.aside, self.rank, ranks, everybody=everybody, host=self.host, below=below, worker=self.worker
            )
        except LostError as error:
            raise PlanMismatch(
                f"Rank {self.rank}: {self.host}, which hosts the store, is gone before all ranks agreed ({error})."
            ) from error

    @staticmethod
    def find(run: Run) -> Place:
        """Where this process stands; ConfigError where nothing says so, PlanMismatch where nobody answers."""
        world = dist.group.WORLD
        if dist.is_initialized() and world is not None:
            rank, store = dist.get_rank(), world.get_group_store()
            bound = world.bound_device_id is not None
            aside = another(store) if how(bound=bound) == "public" else store
            return Place(rank, dist.get_world_size(), store, aside, owns_world=False, hosts=rank == 0)
        launch = launcher.read(os.environ)
        if launch is None:
            known = ", ".join(names.launcher for names in launcher.LAUNCHERS)
            raise ConfigError(
                f"No launcher said which rank this process is (known: {known}; RANK and WORLD_SIZE do for others).\n"
                "Start it with torchrun --nproc-per-node N …, or call torch.distributed.init_process_group first."
            )
        if advice := launcher.rendezvous_advice(launch, os.environ):
            raise ConfigError(f"{advice}.")
        to = connect(launch, os.environ, run.patience())
        return Place(
            rank=launch.rank,
            world_size=launch.world_size,
            store=to.store,
            aside=to.aside,
            owns_world=True,
            hosts=to.hosts,
            host="rank 0",
            local_rank=launch.local_rank,
        )


def default_backend() -> str:
    """The backend of the accelerator, or gloo without one."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return dist.get_default_backend_for_device(accelerator.type) if accelerator else "gloo"


def start_world(place: Place, run: Run, board: Board, backend: str) -> dist.ProcessGroup | None:
    """Start the default process group, among all ranks of the board, and return it."""
    device = None if run.device is None else torch.device(run.device)
    if device is not None and device.type != "cpu" and ":" not in str(device):
        device = torch.device(device.type, place.local_rank or 0)
    job = partial(
        dist.init_process_group,
        backend,
        store=PrefixStore(f"{board.name}/world", place.store),
        rank=place.rank,
        world_size=place.world_size,
        timeout=None if run.timeout is None else timedelta(seconds=run.timeout),
        device_id=None if device is None or device.type == "cpu" else device,
    )
    until = time.monotonic() + run.build_timeout
    place.store.set_timeout(timedelta(seconds=run.build_timeout + 2 * LOOK))  # torch must not give up before we do

    def overdue() -> BuildError:
        return BuildError(
            f"Rank {place.rank} waited {run.build_timeout:g} s for the default process group of {place.world_size} "
            f"ranks. {missing(board)}"
        )

    def look_around() -> None:
        check_others(board)
        if time.monotonic() >= until:
            raise overdue()

    try:
        with gloo_environment(), connected():
            in_thread(job, look_around, LOOK)
    except PgregistryError:
        raise
    except LostError as error:
        raise lost(board, error) from error
    except Exception as error:
        if isinstance(error, RuntimeError) and timed_out(error):
            raise overdue() from error
        raise BuildError(
            f"Rank {place.rank} of {place.world_size} could not join the default process group: "
            f"{type(error).__name__}: {error}"
        ) from error
    # What torch connects later, at a first collective, waits as long as torch would without us.
    for store in (place.store, place.aside):
        store.set_timeout(dist.default_pg_timeout if run.timeout is None else timedelta(seconds=run.timeout))
    return dist.group.WORLD


def part(board: Board, *, hosts: bool) -> None:
    """Leave a world; the rank that hosts the store stays until all have left, but no longer than `LEAVE`."""
    try:
        if board.count("parted") == len(board.ranks):
            board.set("all parted", "")
        if hosts:
            board.watch("all parted", time.monotonic() + LEAVE)
    except LostError:
        return
