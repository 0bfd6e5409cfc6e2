"""The groups of one mode, as a lazy sequence of rank tuples that also knows who is where."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from math import prod
from typing import overload

from pgregistry.layouts.layout import Factor, Layout, offset, whole


class Groups(Sequence[tuple[int, ...]]):
    """Disjoint rank tuples, each ascending, in ascending order of their first rank.

    `len`, index, iterate and `in` work without making a list: one group is computed when it
    is asked for.
    """

    @abstractmethod
    def group_of(self, rank: int) -> tuple[int, ...] | None:
        """The group that a rank is in, or None."""

    @abstractmethod
    def index_of(self, rank: int) -> int | None:
        """Which group a rank is in, or None."""

    @abstractmethod
    def sizes(self) -> dict[int, int]:
        """How many groups there are of each size, largest size first."""

    @abstractmethod
    def _at(self, index: int) -> tuple[int, ...]:
        """The group at an index from 0."""

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[int, ...], ...]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
        if isinstance(index, slice):
            return tuple(self._at(i) for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} groups; {index} is out of range")
        return self._at(index % len(self))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return map(self._at, range(len(self)))

    def __contains__(self, group: object) -> bool:
        if not isinstance(group, Sequence) or not group or not isinstance(group[0], int):
            return False
        return self.group_of(group[0]) == tuple(group)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(mine == tuple(theirs) for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal to lists, so not hashable, like them

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self[:4]))
        return f"<{len(self)} group{'s' * (len(self) != 1)}: {shown}{', …' * (len(self) > 4)}>"


class LayoutGroups(Groups):
    """Groups in closed form: any one of them, or any rank's, costs O(its size).

    >>> groups = LayoutGroups(Layout(16, ((4, 4),)))
    >>> groups
    <4 groups: (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)>
    >>> groups.group_of(5), groups.index_of(5), groups.sizes()
    ((1, 5, 9, 13), 1, {4: 4})
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._rest = whole(layout.factors)

    @cached_property
    def _sizes(self) -> list[tuple[int, int, int]]:
        """(runs of the ragged digit, group size, kept positions), without what `at` leaves empty."""
        runs = self.layout.ragged.runs if self.layout.ragged else ((1, 1),)
        sized = [(count, size * self._rest) for count, size in runs]
        return [(count, size, kept) for count, size in sized if (kept := len(self.layout.kept(size))) and count]

    @cached_property
    def _held(self) -> list[tuple[int, int]]:
        """The digits that are fixed inside a group, (how many values, stride), outermost first."""
        layout, ragged = self.layout, self.layout.ragged
        taken = list(layout.factors) + ([(ragged.whole, ragged.stride)] if ragged else [])
        held, above = [], layout.world
        for size, stride in sorted(taken, key=lambda factor: -factor[1]):
            held.append((above // (size * stride), size * stride))
            if ragged and stride == ragged.stride:
                held.append((sum(count for count, _, _ in self._sizes), ragged.fixed[1]))
            above = stride
        return [(count, stride) for count, stride in (*held, (above, 1)) if count != 1]

    def __len__(self) -> int:
        return prod(count for count, _ in self._held) if self._sizes else 0

    def _at(self, index: int) -> tuple[int, ...]:
        base = 0
        for count, stride in reversed(self._held):
            index, value = divmod(index, count)
            base += value * stride
        return self._ranks(base)

    def _run(self, rank: int) -> int:
        """Which value the fixed ragged digit has for a rank."""
        ragged = self.layout.ragged
        if ragged is None:
            return 0
        position = rank // ragged.stride % ragged.whole
        return position // ragged.size if ragged.side == "inner" else position % ragged.size

    def _base(self, rank: int) -> int:
        """The rank with all that varies in its group set to 0."""
        base = rank - sum(rank // stride % size * stride for size, stride in self.layout.factors)
        if ragged := self.layout.ragged:
            position = rank // ragged.stride % ragged.whole
            base += self._run(rank) * ragged.fixed[1] - position * ragged.stride
        return base

    def _ranks(self, base: int) -> tuple[int, ...]:
        free: list[Factor] = list(self.layout.factors)
        if ragged := self.layout.ragged:
            free = sorted([*free, ragged.free(self._run(base))], key=lambda factor: -factor[1])
        if self.layout.at is not None:
            kept = self.layout.kept(prod(size for size, _ in free))
            return tuple(base + offset(free, position) for position in kept)
        ranks: Sequence[int] = range(base, base + 1)
        for size, stride in free:
            runs = [range(first, first + size * stride, stride) for first in ranks]
            ranks = runs[0] if len(runs) == 1 else list(chain.from_iterable(runs))
        return tuple(ranks)

    def group_of(self, rank: int) -> tuple[int, ...] | None:
        if not 0 <= rank < self.layout.world:
            return None
        ranks = self._ranks(self._base(rank))
        return ranks if self.layout.at is None or rank in ranks else None

    def index_of(self, rank: int) -> int | None:
        if not 0 <= rank < self.layout.world or (self.layout.at is not None and self.group_of(rank) is None):
            return None
        base, index, ragged = self._base(rank), 0, self.layout.ragged
        for count, stride in self._held:
            is_ragged = ragged is not None and stride == ragged.fixed[1]
            index = index * count + (self._run(base) if is_ragged else base // stride % count)
        return index

    def sizes(self) -> dict[int, int]:
        runs, sizes = sum(count for count, _, _ in self._sizes), Counter[int]()
        for count, _, kept in self._sizes:
            sizes[kept] += len(self) // runs * count
        return dict(sorted(sizes.items(), reverse=True))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LayoutGroups) and self.layout.canonical() == other.layout.canonical():
            return True
        return super().__eq__(other)

    __hash__ = None


class ListedGroups(Groups):
    """Groups that were given as lists."""

    def __init__(self, groups: Iterable[Iterable[int]]) -> None:
        self._groups = sorted(tuple(group) for group in groups)

    @cached_property
    def _index(self) -> dict[int, int]:
        return {rank: index for index, group in enumerate(self._groups) for rank in group}

    def __len__(self) -> int:
        return len(self._groups)

    def _at(self, index: int) -> tuple[int, ...]:
        return self._groups[index]

    def group_of(self, rank: int) -> tuple[int, ...] | None:
        index = self._index.get(rank)
        return None if index is None else self._groups[index]

    def index_of(self, rank: int) -> int | None:
        return self._index.get(rank)

    def sizes(self) -> dict[int, int]:
        return dict(sorted(Counter(map(len, self._groups)).items(), reverse=True))


def laid_out(layout: Layout) -> Groups:
    """The groups of a layout, in order."""
    groups = LayoutGroups(layout)
    ragged = layout.ragged
    if layout.at is None or ragged is None:
        return groups
    # A position of a later, shorter group may be the lower rank: its place in the order must be found.
    around = layout.factors and layout.factors[0][1] >= ragged.whole * ragged.stride
    return ListedGroups(groups) if around or ragged.side == "outer" else groups
