"""GroupHandle: one mode on this rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError
from pgregistry.runtime.contexts.open_contexts import OPEN

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from pgregistry.building.process_groups import ProcessGroups


@dataclass(frozen=True, slots=True)
class Membership:
    """The place of this rank in a group of a mode, and the process groups of its context."""

    index: int
    ranks: tuple[int, ...]
    rank: int
    process_groups: ProcessGroups


@dataclass(frozen=True, slots=True, repr=False)
class GroupHandle:
    """One mode on this rank: its group, and the position of this rank in it.

    With tensor=4, rank 6 is at position 2 of group 1:

        tensor = context["tensor"]
        tensor.ranks                    # (4, 5, 6, 7)
        tensor.rank, tensor.index       # 2, 1
        tensor.next, tensor.previous    # 7, 5

    Handles of one mode in equal plans are equal. A copy is the handle itself. A handle that was pickled looks its group
    up when it is first used: in the open context with a plan of the same fingerprint, else in the current one. So it
    is right on whatever rank it is loaded.

    Attributes:
        mode: The mode's name.
        fingerprint: That of the plan.
    """

    mode: str
    fingerprint: str
    _membership: Membership | None = field(default=None, compare=False)

    def _found(self) -> Membership:
        """Return the membership; that of a pickled handle is looked up once."""
        if self._membership is not None:
            return self._membership
        context = OPEN.current(self.fingerprint) or OPEN.current()
        if context is None:
            raise BuildError(
                f"The handle of mode {self.mode!r} was pickled, and no context is open in which to look its group up. "
                "Call pgregistry.init() before it is used."
            )
        found: Membership = context[self.mode]._found()
        object.__setattr__(self, "_membership", found)
        return found

    @property
    def index(self) -> int:
        """Return the number of the group in the mode."""
        return self._found().index

    @property
    def ranks(self) -> tuple[int, ...]:
        """Return the global ranks of the group, in its order."""
        return self._found().ranks

    @property
    def rank(self) -> int:
        """Return the position of this rank in `ranks`."""
        return self._found().rank

    @property
    def size(self) -> int:
        """Return the number of ranks in the group."""
        return len(self.ranks)

    @property
    def group(self) -> ProcessGroup:
        """Return the torch process group.

        A handle does not keep it alive: gloo frees the ranks that wait for this one only when
        nothing refers to the process group any more.

        Raises:
            BuildError: if the context is closed, other code destroyed the process group or the world, this process
                was forked from that of the context, or the handle was pickled and no context is open.
        """
        return self._living(self._found().process_groups.groups)

    @property
    def cpu_group(self) -> ProcessGroup:
        """Return the gloo process group over the same ranks: `group` itself if its CPU tensors go by gloo.

        Raises:
            BuildError: if there is none, or `group` raises.
        """
        import torch.distributed as dist

        from pgregistry.building.communicators.backend import FAKE, device_backends

        companions = self._found().process_groups.companions
        group = self._living(companions) if self.mode in companions else self.group
        if device_backends(group).get("cpu") != "gloo" and dist.get_backend() != FAKE:
            raise BuildError(
                f"Mode {self.mode!r} has no gloo process group beside its own, for neither the mode nor the run asked "
                f"for one. Pass init(cpu=True), or {self.mode}={{'cpu': True}} for this mode alone."
            )
        return group

    def _living(self, groups: Mapping[str, ProcessGroup]) -> ProcessGroup:
        """Return the process group of this mode if it is still there."""
        import torch.distributed as dist

        if self.mode not in groups:
            if self._found().process_groups.state == "forked":
                raise BuildError(
                    f"This process was forked from the one that has the process group of mode {self.mode!r}, and "
                    "cannot use it. Make collectives in the parent."
                )
            raise BuildError(f"The context is closed, so the process group of mode {self.mode!r} is destroyed.")
        group = groups[self.mode]
        try:
            dist.get_backend(group)
        except ValueError:
            raise BuildError(
                f"The process group of mode {self.mode!r} is gone: other code destroyed it, or the world with all its "
                "process groups. Close the context first, then destroy the world."
            ) from None
        return group

    @property
    def first(self) -> int:
        """Return the global rank at position 0, which is the source of a broadcast."""
        return self.ranks[0]

    @property
    def next(self) -> int:
        """Return the global rank after this one in the group, which is a ring."""
        return self.ranks[(self.rank + 1) % self.size]

    @property
    def previous(self) -> int:
        """Return the global rank before this one in the group, which is a ring."""
        return self.ranks[self.rank - 1]

    @property
    def is_first(self) -> bool:
        """Return True if this is the first rank of its group."""
        return self.rank == 0

    @property
    def is_last(self) -> bool:
        """Return True if this is the last rank of its group."""
        return self.rank == self.size - 1

    def __copy__(self) -> GroupHandle:
        return self

    def __deepcopy__(self, _: dict[int, object]) -> GroupHandle:
        return self

    def __reduce__(self) -> tuple[type[GroupHandle], tuple[str, str]]:
        return GroupHandle, (self.mode, self.fingerprint)

    def __repr__(self) -> str:
        if self._membership is None:
            return f"GroupHandle(mode={self.mode!r}, pickled and not used yet)"
        return f"GroupHandle(mode={self.mode!r}, index={self.index}, ranks={self.ranks}, rank={self.rank})"
