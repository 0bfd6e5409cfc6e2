"""The watch of a context: whether there is one, how long it waits, and what it logs about itself."""

from __future__ import annotations

import logging

import torch
import torch.distributed as dist

from pgregistry.building.process_groups import ProcessGroups
from pgregistry.building.specs import Defaults
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.diagnosis.watch.rank.myself import PART
from pgregistry.diagnosis.watch.watch import Watch
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import flight_records, group_creation

log = logging.getLogger("pgregistry.watch")


def start_watch(
    plan: Plan, scope: ScopedStore, asked: float, folder: str | None, defaults: Defaults, groups: ProcessGroups
) -> None:
    """Start the watch of process groups, unless nothing can be stuck, nothing is recorded, or `asked` is 0.

    Args:
        plan: The plan that was built.
        scope: The store of its ranks.
        asked: How long something may be pending, in seconds; 0 for no watch.
        folder: Where records are kept; None for nowhere.
        defaults: The run's settings for modes that have none.
        groups: The process groups of this rank, which are given the watch.
    """
    if not asked or len(scope.ranks) < 2:
        return
    first = scope.rank == scope.ranks[0]
    if not flight_records.available():
        if first:
            log.info("There is no watch, for torch records no operations: %s=0, or another torch.", flight_records.SIZE)
        return
    if not flight_records.records_gloo() and all(dist.get_backend(one) == "gloo" for one in groups.groups.values()):
        if first:
            log.info(
                "There is no watch, for torch %s records no operations of gloo. Use 2.13 or later.", torch.__version__
            )
        return
    shortest = _shortest_timeout(plan, defaults)
    seconds = min(asked, shortest * PART)
    if first and seconds < asked:
        log.info(
            "watch = %g s is lowered to %g s, 2/3 of the shortest timeout, after which torch ends what is pending.",
            *(asked, seconds),
        )
    if first:
        unseen = "waits in a lock, a file or the store, monitored_barrier, groups that torch does not know"
        if "gloo" in dist.get_backend() or any(dist.get_backend(one) == "gloo" for one in groups.groups.values()):
            unseen = f"send and recv of gloo before torch 2.15 (but for a main thread that stands in one), {unseen}"
        log.info("Ranks that wait for %g s all find out who holds up the run. Not seen: %s.", seconds, unseen)
    names = [group.group_name for group in groups.groups.values()]
    names += [group.group_name for group in groups.companions.values()]
    watch = Watch(scope, plan, seconds, names, folder)
    groups.watches.append(watch)
    watch.start()


def _shortest_timeout(plan: Plan, defaults: Defaults) -> float:
    backends = {mode.backend or defaults.backend for mode in plan.planned if mode.timeout is None}
    given = [mode.timeout for mode in plan.planned if mode.timeout is not None]
    if defaults.timeout is not None:
        given.append(defaults.timeout)
    else:
        given += [group_creation.default_timeout(one) for one in {*backends, defaults.backend}]
    return min(given)
