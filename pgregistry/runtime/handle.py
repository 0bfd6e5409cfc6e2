"""One mode on this rank, as users hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.distributed as dist

from pgregistry.errors import BuildError


@dataclass(frozen=True, slots=True)
class Handle:
    """One mode on this rank: its group, and where this rank stands in it.

    Attributes:
        mode: The mode's name.
        index: Which group of the mode this is.
        ranks: The global ranks of the group, ascending.
        rank: This rank's position in `ranks`.
    """

    mode: str
    index: int
    ranks: tuple[int, ...]
    rank: int
    _groups: Mapping[str, dist.ProcessGroup] = field(repr=False)
    _companions: Mapping[str, dist.ProcessGroup] = field(repr=False)

    @property
    def group(self) -> dist.ProcessGroup:
        """The torch process group.

        A handle does not keep it alive: gloo frees the ranks that wait for this one only when
        nothing refers to the process group any more.

        Raises:
            BuildError: if the context is closed.
        """
        if self.mode not in self._groups:
            raise BuildError(f"The context is closed; the process group of mode {self.mode!r} is destroyed.")
        return self._groups[self.mode]

    @property
    def size(self) -> int:
        """How many ranks the group has."""
        return len(self.ranks)

    @property
    def cpu_group(self) -> dist.ProcessGroup:
        """The gloo process group over the same ranks: `group` itself where that is gloo.

        Raises:
            BuildError: if nobody asked for one.
        """
        group = self._companions.get(self.mode, self.group)
        if "cpu:gloo" not in str(dist.get_backend_config(group)).split(","):
            raise BuildError(
                f"Mode {self.mode!r} has no gloo process group beside its own; nobody asked for one. "
                f"Say init(cpu=True), or {self.mode}={{'cpu': True}} for this mode alone."
            )
        return group

    @property
    def next(self) -> int:
        """The global rank after this one in the group, as in a ring."""
        return self.ranks[(self.rank + 1) % self.size]

    @property
    def previous(self) -> int:
        """The global rank before this one in the group, as in a ring."""
        return self.ranks[self.rank - 1]

    @property
    def is_first(self) -> bool:
        """Whether this is the first rank of its group."""
        return self.rank == 0

    @property
    def is_last(self) -> bool:
        """Whether this is the last rank of its group."""
        return self.rank == self.size - 1
