"""The default process group, when `init` starts it."""

from __future__ import annotations

import logging
import sys
import time
import weakref
from datetime import timedelta
from functools import partial
from typing import Any

import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from pgregistry.building.communicators.backend import gloo_environment, rank_device
from pgregistry.building.communicators.options import lazy_device
from pgregistry.building.process_groups import ProcessGroups, end_wait
from pgregistry.coordination.abandonable import check_given_up, run_abandonable
from pgregistry.coordination.barrier import LEAVE, check_failure, give_up, lost
from pgregistry.coordination.store.connections import LostError, connected, timed_out
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, PgregistryError, PlanMismatch, describe
from pgregistry.runtime.interface import interface_hint
from pgregistry.runtime.process import InitOptions, ProcessInfo
from pgregistry.torch_private import counter

log = logging.getLogger("pgregistry")

#: Seconds between two looks at whether another rank has failed, while torch connects the ranks.
LOOK = 0.5
#: The name that torch gives a first default process group.
NAME = "0"


def start_default_group(
    process: ProcessInfo, options: InitOptions, scope: ScopedStore, backend: str, groups: ProcessGroups
) -> None:
    """Start the default process group among all ranks.

    Args:
        process: This process.
        options: The run's settings.
        scope: A scope of all ranks.
        backend: The backend of the default process group.
        groups: It is given the default process group.

    Raises:
        BuildError: on every rank, if one cannot join or does not come within `build_timeout`.
    """
    device = lazy_device(backend) if options.device is None else rank_device(options.device, process.local_rank)

    store = PrefixStore(f"{scope.name}/world", process.store)
    timeout = None if options.timeout is None else timedelta(seconds=options.timeout)
    patience = timedelta(seconds=options.build_timeout + 2 * LOOK)  # torch gives up after us
    # gloo waits for ranks as long as for collectives, which is too long for a thread that was given up.
    brief = backend == "gloo" and hasattr(dist.ProcessGroup, "set_timeout")

    def start() -> None:
        check_given_up()
        counter.restart()
        groups.excepthook = sys.excepthook
        dist.init_process_group(
            backend,
            store=store,
            rank=process.rank,
            world_size=process.world_size,
            timeout=patience if brief else timeout,
            device_id=device,
        )
        world: Any = dist.group.WORLD
        if brief:
            world.set_timeout(timeout or dist.default_pg_timeout)
        groups.keep(world)

    groups.kept.append(process.server)  # a forked child must not end the server either
    until = time.monotonic() + options.build_timeout
    process.store.set_timeout(patience)

    def overdue() -> PgregistryError:
        return give_up(
            scope,
            lambda missing: (
                f"Rank {process.rank} waited {options.build_timeout:g} s for the default process group of "
                f"{process.world_size} ranks."
            ),
        )

    def look_around() -> None:
        check_failure(scope)
        if time.monotonic() >= until:
            raise overdue()

    try:
        with gloo_environment(process.world_size), connected():
            end = partial(end_wait, store, NAME, range(process.world_size), process.rank)
            run_abandonable(start, look_around, LOOK, awaited=True, end_wait=end)
    except PgregistryError:
        raise
    except LostError as error:
        raise lost(scope, error) from error
    except Exception as error:
        if isinstance(error, RuntimeError) and timed_out(error):
            raise overdue() from error
        text = f"Rank {process.rank} of {process.world_size} could not join the default process group"
        raise BuildError(f"{text}: {describe(error)}{interface_hint(str(error))}", ranks=(process.rank,)) from error
    # torch connects some peers later, at a first collective. That waits as long as torch would without us.
    process.store.set_timeout(timeout or dist.default_pg_timeout)
    process.client.set_timeout(timeout or dist.default_pg_timeout)
    # The server of the store lives as long as the world, also if the context is forgotten.
    weakref.finalize(groups.default_group, process.server.clear).atexit = False


def leave_world(scope: ScopedStore, *, hosts: bool) -> None:
    """Leave the world. The rank that hosts the store stays until all have left, `LEAVE` seconds at most."""
    try:
        if scope.count_ranks("left world") == len(scope.ranks):
            scope.set("all left world", "")
        if hosts:
            scope.wait_for("all left world", time.monotonic() + LEAVE)
    except (LostError, PlanMismatch) as error:
        log.debug("rank %d leaves a world whose store is gone: %s", scope.rank, error)
