"""The process groups of one rank: how they are kept, and how they end."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch.distributed as dist

from pgregistry.building.specs import GroupSpec
from pgregistry.coordination.abandonable import check_given_up, given_up
from pgregistry.coordination.store.connections import LostError, StoreClient, second_connection
from pgregistry.errors import BuildError, describe
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
