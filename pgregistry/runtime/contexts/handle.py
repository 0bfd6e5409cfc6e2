"""GroupHandle: one mode on this rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True, slots=True)
class GroupHandle:
    """One mode on this rank: its group, and the position of this rank in it.

    With tensor=4, rank 6 is at position 2 of group 1:

        tensor = context["tensor"]
        tensor.ranks                    # (4, 5, 6, 7)
        tensor.rank, tensor.index       # 2, 1
        tensor.next, tensor.previous    # 7, 5

    Attributes:
        mode: The mode's name.
        index: The number of the group in the mode.
        ranks: The global ranks of the group, in its order.
        rank: The position of this rank in `ranks`.
    """

    mode: str
    index: int
    ranks: tuple[int, ...]
    rank: int
    _groups: Mapping[str, ProcessGroup] = field(repr=False)
    _companions: Mapping[str, ProcessGroup] = field(repr=False)

    @property
    def group(self) -> ProcessGroup:
        """Return the torch process group.

        A handle does not keep it alive: gloo frees the ranks that wait for this one only when
        nothing refers to the process group any more.

        Raises:
            BuildError: if the context is closed.
        """
        if self.mode not in self._groups:
            raise BuildError(f"The context is closed, so the process group of mode {self.mode!r} is destroyed.")
        return self._groups[self.mode]

    @property
    def size(self) -> int:
        """Return the number of ranks in the group."""
        return len(self.ranks)

    @property
    def cpu_group(self) -> ProcessGroup:
        """Return the gloo process group over the same ranks: `group` itself if its CPU tensors go by gloo.

        Raises:
            BuildError: if there is none, or the context is closed.
        """
        from pgregistry.building.backend import device_backends

        group = self._companions.get(self.mode) or self.group
        if device_backends(group).get("cpu") != "gloo":
            raise BuildError(
                f"Mode {self.mode!r} has no gloo process group beside its own, for neither the mode nor the run asked "
                f"for one. Pass init(cpu=True), or {self.mode}={{'cpu': True}} for this mode alone."
            )
        return group

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
