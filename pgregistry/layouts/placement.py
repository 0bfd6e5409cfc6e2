"""Groups of positions as groups of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from pgregistry.layouts.groups import Groups, GroupSample, LayoutGroups, ListedGroups


class PlacedGroups(Groups):
    """Groups of positions, shown as the ranks at these positions, which must ascend.

    >>> from pgregistry.layouts.layout import Layout
    >>> PlacedGroups(LayoutGroups(Layout(4, ((2, 1),))), (4, 5, 6, 7))
    <2 groups: (4, 5), (6, 7)>
    """

    def __init__(self, positions: Groups, ranks: Sequence[int]) -> None:
        self.positions = positions
        self.ranks = tuple(ranks)

    @cached_property
    def _position(self) -> dict[int, int]:
        return {rank: position for position, rank in enumerate(self.ranks)}

    def _placed(self, group: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.ranks[position] for position in group)

    def __len__(self) -> int:
        return len(self.positions)

    def _at(self, index: int) -> tuple[int, ...]:
        return self._placed(self.positions[index])

    def group_of(self, rank: int) -> tuple[int, ...] | None:
        group = self.positions.group_of(self._position[rank]) if rank in self._position else None
        return None if group is None else self._placed(group)

    def sample(self, rank: int, count: int) -> GroupSample | None:
        sample = self.positions.sample(self._position[rank], count) if rank in self._position else None
        return sample and sample._replace(first=self._placed(sample.first), last=self.ranks[sample.last])

    def index_of(self, rank: int) -> int | None:
        return self.positions.index_of(self._position[rank]) if rank in self._position else None

    def sizes(self) -> dict[int, int]:
        return self.positions.sizes()

    def key(self) -> object:
        if isinstance(self.positions, LayoutGroups) and self:
            return [self.positions.layout.key(), self.ranks]
        return super().key()


def place(groups: Groups, ranks: Sequence[int] | None) -> Groups:
    """Return groups of positions as groups of these ranks; unchanged if `ranks` is None.

    >>> from pgregistry.layouts.layout import Layout
    >>> place(LayoutGroups(Layout(4, ((2, 1),))), (3, 2, 0, 1))
    <2 groups: (0, 1), (3, 2)>
    """
    if ranks is None:
        return groups
    if all(low < high for low, high in pairwise(ranks)):
        return PlacedGroups(groups, ranks)
    # Groups ascend by their first rank, so their order must be found anew.
    return ListedGroups(tuple(ranks[position] for position in group) for group in groups)
