"""Groups of positions as groups of ranks, and listed groups in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from pgregistry.layouts.groups import Groups, LayoutGroups, ListedGroups
from pgregistry.layouts.layout import Factor, Layout, merge


class PlacedGroups(Groups):
    """Groups of positions, shown as the ranks that have these positions, which must ascend.

    >>> PlacedGroups(LayoutGroups(Layout(4, ((2, 1),))), (4, 5, 6, 7))
    <2 groups: (4, 5), (6, 7)>
    """

    def __init__(self, groups: Groups, ranks: Sequence[int]) -> None:
        self.positions = groups
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

    def index_of(self, rank: int) -> int | None:
        return self.positions.index_of(self._position[rank]) if rank in self._position else None

    def sizes(self) -> dict[int, int]:
        return self.positions.sizes()


def place(groups: Groups, ranks: Sequence[int] | None) -> Groups:
    """Groups of positions as groups of these ranks; None for every position being its rank.

    >>> place(LayoutGroups(Layout(4, ((2, 1),))), (0, 2, 1, 3))
    <2 groups: (0, 2), (1, 3)>
    """
    if ranks is None:
        return groups
    if all(low < high for low, high in pairwise(ranks)):
        return PlacedGroups(groups, ranks)
    # A custom placement: groups stay ascending, so their order must be found anew.
    return ListedGroups(sorted(ranks[position] for position in group) for group in groups)


def closed_form(groups: Groups, world: int) -> Layout | None:
    """The layout that makes these groups of the whole world, where one without `at` or ragged end does.

    >>> closed_form(ListedGroups([(0, 2), (1, 3), (4, 6), (5, 7)]), 8).factors
    ((2, 2),)
    >>> closed_form(ListedGroups([(0, 1), (2, 5)]), 8)
    """
    first, factors = list(groups[0]), list[Factor]()
    if len(first) * len(groups) != world:
        return None
    while len(first) > 1:
        stride = first[1] - first[0]
        size = next((n for n in range(1, len(first)) if first[n] - first[n - 1] != stride), len(first))
        factors.append((size, stride))
        first = first[::size]
    above = world
    for size, stride in reversed(factors):
        if above % (size * stride):
            return None
        above = stride
    layout = Layout(world, merge(factors))
    return layout if LayoutGroups(layout) == groups else None
