"""The process groups of one rank, and the builder that makes them."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch.distributed as dist

from pgregistry.building.backend import default_group_backend
from pgregistry.building.specs import Defaults, GroupSpec, default_group_spec, specs_of_rank
from pgregistry.building.watchdog import LOOK, Watchdog
from pgregistry.coordination.abandonable import check_given_up, given_up, run_abandonable
from pgregistry.coordination.store.connections import LostError, StoreClient, second_connection
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, describe
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import gloo

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ProcessGroups:
    """The process groups of one rank.

    Attributes:
        created: Those that `init` makes, in the order in which all ranks make them; None until it is made.
        groups: For each mode that this rank is in, its process group.
        companions: For each mode that has one, its gloo process group beside `groups`.
        seconds: For each mode, the time until its process groups were there.
        kept: Objects that must live as long as the process groups.
        default_group: The default process group, if these are to end it: `init` started it.
        farewells: Called in turn after all are destroyed without an abort.
        excepthook: The hook that torch replaced when the default process group was started.
        watches: What finds out who holds up a run that is stuck, and ends before the process groups do.
        state: `forked` in a child process, which must leave the process groups of its parent alone.
    """

    created: dict[GroupSpec, dist.ProcessGroup | None] = field(default_factory=dict)
    groups: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    companions: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)
    default_group: dist.ProcessGroup | None = None
    farewells: list[Callable[[], None]] = field(default_factory=list)
    excepthook: Callable[..., object] | None = None
    watches: list[Any] = field(default_factory=list)
    state: Literal["open", "closed", "forked"] = "open"
    _closing: Any = field(default_factory=threading.RLock, repr=False, compare=False)

    def close(self, *, abort: bool) -> None:
        """Destroy what `init` made, in the opposite order, and leave this object empty. A forked child does nothing.

        Args:
            abort: Do not wait for collectives that are under way, and log failures instead of raising them.

        Raises:
            BuildError: if one could not be destroyed, after all were tried.
        """
        if self.state == "forked":
            return  # another thread of the parent may have held the lock when this process was forked
        with self._closing:
            self.state = "closed"
            while self.watches:  # each keeps connections to the store open
                self.watches.pop().close(sys.exc_info()[1] if abort else None)
            self._close(abort)

    def keep(self, group: dist.ProcessGroup | None, spec: GroupSpec | None = None) -> None:
        """Keep a process group that was made, or destroy it if the calling thread was given up meanwhile.

        Args:
            group: The process group.
            spec: Its spec; None for the default process group.

        Raises:
            GivenUpError: if it was destroyed.
        """
        with self._closing:  # one that comes while another thread closes this object is not lost
            if spec is None:
                self.default_group = group
            else:
                self.created[spec] = group
        if given_up():  # whoever comes last destroys it: this thread, or the one that gave it up
            self.close(abort=True)
            check_given_up()

    def leave_world_to(self, heir: ProcessGroups) -> None:
        """Let those of another `init` end the default process group, if it is this one's and still there."""
        if self.state == "open" and self.default_group is not None and self.default_group is dist.group.WORLD:
            heir.default_group, self.default_group = self.default_group, None
            heir.farewells.extend(self.farewells)
            self.farewells.clear()
            heir.excepthook, self.excepthook = self.excepthook, None
            heir.kept.extend(self.kept)

    def made_for(self, modes: Collection[str]) -> list[dist.ProcessGroup]:
        """Return the process groups that `init` made for some modes, or all of them, in one order on all ranks."""
        wanted = [kind[mode] for mode in modes for kind in (self.groups, self.companions) if mode in kind]
        made = [group for group in (self.default_group, *self.created.values()) if group is not None]
        return [group for group in made if group in wanted or not modes]

    def leave_to_parent(self) -> list[object]:
        """Empty this object in a forked child, and return what must not be freed there: it is the parent's."""
        held = [*self.created.values(), *self.groups.values(), *self.companions.values(), *self.kept]
        held += [self.default_group, *self.farewells, *self.watches]
        if world := dist.group.WORLD:
            held += [world, world.get_group_store()]
        for emptied in (self.created, self.groups, self.companions, self.kept, self.farewells, self.watches):
            emptied.clear()
        self.default_group = None
        self.state = "forked"
        return held

    def _close(self, abort: bool) -> None:
        self.groups.clear()
        self.companions.clear()
        failed: list[Exception] = []
        while self.created:  # each is forgotten when it is destroyed, so that an interrupted call can be repeated
            spec, group = next(reversed(self.created.items()))
            _destroy(group, abort, failed)
            self.created.pop(spec, None)
        world = self.default_group  # the store that it keeps is needed for the farewell
        _destroy(world, abort, failed)
        self.default_group = None
        self.kept.clear()
        while self.farewells:
            farewell = self.farewells.pop(0)
            if not abort:
                farewell()
        if self.excepthook and sys.excepthook.__module__ == dist.distributed_c10d.__name__:
            sys.excepthook = self.excepthook  # torch wraps it for every default group and never restores it
            self.excepthook = None
        if failed and not abort:
            first = f"The first error: {failed[0]}"
            raise BuildError(f"{len(failed)} process groups could not be destroyed. {first}") from failed[0]


def _destroy(group: dist.ProcessGroup | None, abort: bool, failed: list[Exception]) -> None:
    if group is None:
        return
    try:
        if abort and dist.is_initialized():  # one that came after the end of the world has nobody to wait for
            group.abort()
        dist.destroy_process_group(group)
    except ValueError as error:
        log.debug("A process group was destroyed before: %s", error)
    except Exception as error:
        log.debug("A process group could not be destroyed: %s", describe(error))
        failed.append(error)


class GroupBuilder:
    """The common part of the two ways of building: the plan, the scope of the ranks, the groups so far, the watchdog.

    Attributes:
        plan: The agreed plan.
        scope: The store of the ranks that build.
        defaults: The run's settings for modes that have none.
        groups: Filled as process groups are made, so that a failure can destroy them.
        default_spec: The spec of the default process group, which is there and serves every mode that it fits.
        number: Tells apart the process groups of one plan that live at once.
        watchdog: Ends the wait for a rank that failed or is missing.
        waits: The process group whose members wait for one another in torch, and the store in which they do.
    """

    def __init__(
        self,
        plan: Plan,
        scope: ScopedStore,
        defaults: Defaults,
        groups: ProcessGroups,
        seconds: float,
        number: int = 0,
    ) -> None:
        self.plan = plan
        self.scope = scope
        self.defaults = defaults.beside(default_group_backend())
        self.groups = groups
        self.number = number
        self.default_spec = default_group_spec(plan, replace(defaults, backend=default_group_backend()))
        self._specs = specs_of_rank(plan, scope.rank, self.defaults)
        wanted = dict.fromkeys(spec for specs in self._specs.values() for spec in specs)
        groups.created.update((spec, None) for spec in wanted if spec != self.default_spec)
        self.watchdog = Watchdog(scope, groups.created, seconds)
        self.waits: tuple[str, GroupSpec, Any] | None = None
        self._begun = time.monotonic()
        self._seconds: dict[GroupSpec, float] = {}

    def add(self, spec: GroupSpec, group: dist.ProcessGroup) -> None:
        """Keep a process group that was made."""
        self.groups.keep(group, spec)
        self._seconds[spec] = time.monotonic() - self._begun

    def run(self, job: Callable[[], None], *, awaited: bool = False) -> None:
        """Run a job that makes process groups one after another, in a thread that the watchdog ends.

        Args:
            job: The job.
            awaited: Whether the next `init` must not begin before the job has ended.
        """
        run_abandonable(job, self.watchdog.look_around, LOOK, awaited=awaited, end_wait=self._end_wait)

    def _end_wait(self) -> None:
        """End the wait of this rank in torch for those that will not come."""
        if self.waits:
            name, spec, store = self.waits
            end_wait(store, name, spec.ranks, self.scope.rank)

    @contextmanager
    def naming(self, spec: GroupSpec) -> Iterator[None]:
        """Raise what torch raises inside as a BuildError that names the rank and the group.

        A thread that was given up does not come inside.
        """
        check_given_up()
        try:
            yield
        except Exception as error:
            raise BuildError(
                f"Rank {self.scope.rank} could not make {spec}: {describe(error)}",
                ranks=[self.scope.rank],
            ) from error

    def assign(self) -> None:
        """Give each mode its process groups, when all are made."""
        for mode, specs in self._specs.items():
            for kind, spec in zip((self.groups.groups, self.groups.companions), specs, strict=False):
                made: Any = dist.group.WORLD if spec == self.default_spec else self.groups.created[spec]
                kind[mode] = made
            self.groups.seconds[mode] = max(self._seconds.get(spec, 0.0) for spec in specs)


def end_wait(store: Any, name: str, ranks: Sequence[int], rank: int) -> None:
    """End the wait of this rank in torch for the other members of a process group.

    Args:
        store: The store that torch was given. The thread that waits may hold its connection.
        name: The name of the process group.
        ranks: Its members.
        rank: This rank, one of them.
    """
    try:
        client = StoreClient(second_connection(store))
        client.ask(partial(gloo.end_wait, name, ranks.index(rank), len(ranks)), 0, again=False)
    except LostError as error:
        log.debug("rank %d could not end the wait for process group %s: %s", rank, name, error)


def release_frames(error: BaseException | None) -> None:
    """Clear the local variables in the traceback of an error, so that they keep no process group or connection alive.

    gloo closes the connections of a process group when nothing refers to it any more, not when it
    is aborted or destroyed. Only then are the ranks free that wait for this one.
    """
    errors, seen = [error], set[int]()
    while errors:
        error = errors.pop()
        if error is not None and id(error) not in seen:  # `raise e from e` makes a cycle
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            errors += [error.__cause__, error.__context__]
