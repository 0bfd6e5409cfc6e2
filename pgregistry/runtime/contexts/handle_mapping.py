"""HandleMapping: the handles of the modes in which a rank has a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pgregistry.errors import BuildError
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.contexts.absent import Absent
from pgregistry.runtime.contexts.handle import GroupHandle, Membership

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from pgregistry.building.process_groups import ProcessGroups
    from pgregistry.registry.manager import Registry

T = TypeVar("T")


class HandleMapping(Mapping[str, GroupHandle]):
    """The handles of a context by mode, in plan order: those of modes in which this rank has a group.

    Two of them are equal if they are the same object.

    Args:
        plan: The plan.
        rank: This rank.
        process_groups: Its process groups.
        registry: The plugins of the run.
    """

    def __init__(self, plan: Plan, rank: int, process_groups: ProcessGroups, registry: Registry) -> None:
        self.plan = plan
        self.rank = rank
        self.process_groups = process_groups
        self._absent = Absent(plan, rank, registry)
        self._handles: Mapping[str, GroupHandle] = {
            mode.name: GroupHandle(
                mode.name, plan.fingerprint, Membership(index, ranks, ranks.index(rank), process_groups)
            )
            for mode in plan.planned
            if (ranks := mode.groups.group_of(rank)) is not None and (index := mode.groups.index_of(rank)) is not None
        }

    def __getitem__(self, mode: str) -> GroupHandle:
        """Return this rank's group of a mode.

        Raises:
            ConfigError: if there is no such mode, or its plugin is off.
            BuildError: if this rank is in no group of it, or the context is closed.
        """
        self._check_open()
        if mode not in self:
            raise self._absent.error(mode)
        return self._handles[mode]

    def __contains__(self, mode: object) -> bool:
        self._check_open()
        return isinstance(mode, str) and mode in self._handles

    def __iter__(self) -> Iterator[str]:
        self._check_open()
        return iter(self._handles)

    def __len__(self) -> int:
        self._check_open()
        return len(self._handles)

    @overload
    def get(self, mode: str, /) -> GroupHandle | None: ...
    @overload
    def get(self, mode: str, /, default: GroupHandle | T) -> GroupHandle | T: ...
    def get(self, mode: str, /, default: Any = None) -> Any:
        """Return this rank's group of a mode, or the default on a rank in no group of it, or if its plugin is off.

        With pipe=4 and a mode "edges" over pipe at positions 0 and -1, `get("edges")` is None on
        ranks 1 and 2.

        Raises:
            ConfigError: if nobody knows the mode, so that a misspelt name is never taken for the default.
            BuildError: if the context is closed.
        """
        if mode in self:
            return self._handles[mode]
        if not self._absent.is_known(mode):
            raise self._absent.error(mode)
        return default

    def group(self, mode: str, default: Any = None) -> ProcessGroup | Any:
        """Return this rank's process group of a mode, or the default where `get` returns it.

        torch takes None for the whole world, so give the default only to code that takes it for no group.

        Raises:
            ConfigError: if nobody knows the mode.
            BuildError: if the context is closed.
        """
        handle = self.get(mode)
        return default if handle is None else handle.group

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _check_open(self) -> None:
        if self.process_groups.state == "closed":
            raise BuildError("The context is closed, so its process groups are destroyed.")
