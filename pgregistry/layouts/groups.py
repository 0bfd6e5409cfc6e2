"""The groups of one mode, as a lazy sequence of rank tuples."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from math import prod
from typing import Final, NamedTuple, overload

from pgregistry.layouts.factors import Factors, locate, offset, whole
from pgregistry.layouts.layout import Layout
from pgregistry.values import shown

#: `repr` lists the ranks of groups up to this size.
LISTED: Final = 64


class GroupSample(NamedTuple):
    """A group without its middle: its size, the position of one rank, its first ranks and its last."""

    size: int
    position: int
    first: tuple[int, ...]
    last: int


class Groups(Sequence[tuple[int, ...]]):
    """Disjoint rank tuples, each in the order of its process group, in ascending order of their first rank.

    `len`, an index, iteration and `in` make no list: each group is computed when it is needed.

    >>> import pgregistry
    >>> groups = pgregistry.plan(16, tensor=4)["tensor"].groups
    >>> groups
    <4 groups: (0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15)>
    >>> groups[1], groups.group_of(5), groups.index_of(5), groups.sizes()
    ((4, 5, 6, 7), (4, 5, 6, 7), 1, {4: 4})
    """

    @abstractmethod
    def group_of(self, rank: int) -> tuple[int, ...] | None:
        """Return the group that a rank is in, or None if it is in none."""

    @abstractmethod
    def index_of(self, rank: int) -> int | None:
        """Return the index of the group that a rank is in, or None if it is in none."""

    @abstractmethod
    def sizes(self) -> dict[int, int]:
        """Return how many groups there are of each size, the largest size first."""

    def sample(self, rank: int, count: int) -> GroupSample | None:
        """Return the group that a rank is in by its first `count` ranks, or None if it is in none."""
        group = self.group_of(rank)
        return None if group is None else GroupSample(len(group), group.index(rank), group[:count], group[-1])

    @abstractmethod
    def _at(self, index: int) -> tuple[int, ...]:
        """Return the group at an index from 0."""

    def key(self) -> object:
        """Return plain values for fingerprints: equal keys are of equal groups."""
        return list(self)

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[int, ...], ...]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
        if isinstance(index, slice):
            return tuple(self._at(i) for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} groups; {shown(index)} is out of range")
        return self._at(index % len(self))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return map(self._at, range(len(self)))

    def __contains__(self, group: object) -> bool:
        if not isinstance(group, Sequence) or not group or not isinstance(group[0], int):
            return False
        return self.group_of(group[0]) == tuple(group)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        if len(self) != len(other) or (isinstance(other, Groups) and self.sizes() != other.sizes()):
            return False
        return all(mine == tuple(theirs) for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal to lists, so not hashable, like them

    def __repr__(self) -> str:
        count, sizes = f"{len(self)} group{'s' * (len(self) != 1)}", self.sizes()
        if sizes and max(sizes) > LISTED:
            return f"<{count} of {' or '.join(map(str, sizes))} ranks>"
        return f"<{count}: {', '.join(map(str, self[:4]))}{', …' * (len(self) > 4)}>"


class LayoutGroups(Groups):
    """Groups of a layout; computing one takes O(its size).

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
    def _runs(self) -> list[tuple[int, int]]:
        """Groups by length, as how many values of the ragged digit have it, and how many ranks `at` keeps of each."""
        if any(not 0 <= position < size for size, _, position in self.layout.where):
            return []
        lengths = self.layout.ragged.runs if self.layout.ragged else ((1, 1),)
        runs = [(number, len(self.layout.kept(length * self._rest))) for number, length in lengths]
        return [(number, kept) for number, kept in runs if number and kept]

    @cached_property
    def _held(self) -> Factors:
        """The digits that are fixed inside a group as (how many values, stride), outermost first."""
        return self.layout.fixed(sum(number for number, _ in self._runs))

    def spans(self) -> Iterator[tuple[Factors, int, int]]:
        """Yield the groups of each length as (the digits in which they differ, lowest rank of the first, its span).

        The span is the distance from the lowest rank of a group to its highest.

        >>> list(LayoutGroups(Layout(16, ((4, 4),))).spans())    # (0 4 8 12), and 3 others one rank after another
        [(((4, 1),), 0, 12)]
        """
        layout, ragged, value = self.layout, self.layout.ragged, 0
        base = sum(position * stride for _, stride, position in layout.where)
        for number, _ in self._runs:
            free = layout.free(value)
            kept = layout.kept(whole(free))
            first, last = offset(free, kept[0]), offset(free, kept[-1])
            shift = value * ragged.fixed_stride if ragged else 0
            yield layout.fixed(number), base + shift + first, last - first
            value += number

    def __len__(self) -> int:
        return prod(count for count, _ in self._held) if self._runs else 0

    def _at(self, index: int) -> tuple[int, ...]:
        base = sum(position * stride for _, stride, position in self.layout.where)
        for count, stride in reversed(self._held):
            index, value = divmod(index, count)
            base += value * stride
        return self._ranks(base)

    def _run(self, rank: int) -> int:
        """Return the value of the fixed ragged digit of a rank."""
        return self.layout.ragged.digits(rank)[0] if self.layout.ragged else 0

    def _base(self, rank: int) -> int:
        """Return the rank with all digits that vary in its group set to 0."""
        base = rank - sum(rank // stride % size * stride for size, stride in self.layout.factors)
        if ragged := self.layout.ragged:
            fixed, varies = ragged.digits(rank)
            base -= varies * ragged.free(fixed)[1]
        return base

    def sample(self, rank: int, count: int) -> GroupSample | None:
        if not self.layout.has(rank):
            return None
        base = self._base(rank)
        free = self.layout.free(self._run(base))
        kept = self.layout.kept(whole(free))
        position = locate(free, rank - base)
        if position not in kept:
            return None
        first = tuple(base + offset(free, place) for place in kept[:count])
        return GroupSample(len(kept), kept.index(position), first, base + offset(free, kept[-1]))

    def _ranks(self, base: int) -> tuple[int, ...]:
        free = self.layout.free(self._run(base))
        if self.layout.at is not None:
            kept = self.layout.kept(prod(size for size, _ in free))
            return tuple(base + offset(free, position) for position in kept)
        ranks: Sequence[int] = range(base, base + 1)
        for size, stride in free:
            runs = [range(first, first + size * stride, stride) for first in ranks]
            ranks = runs[0] if len(runs) == 1 else list(chain.from_iterable(runs))
        return tuple(ranks)

    def group_of(self, rank: int) -> tuple[int, ...] | None:
        if not self.layout.has(rank):
            return None
        ranks = self._ranks(self._base(rank))
        return ranks if self.layout.at is None or rank in ranks else None

    def index_of(self, rank: int) -> int | None:
        if not self.layout.has(rank) or (self.layout.at is not None and self.group_of(rank) is None):
            return None
        base, index, ragged = self._base(rank), 0, self.layout.ragged
        for count, stride in self._held:
            is_ragged = ragged is not None and stride == ragged.fixed_stride
            index = index * count + (self._run(base) if is_ragged else base // stride % count)
        return index

    def sizes(self) -> dict[int, int]:
        runs, sizes = sum(number for number, _ in self._runs), Counter[int]()
        for number, kept in self._runs:
            sizes[kept] += len(self) // runs * number
        return dict(sorted(sizes.items(), reverse=True))

    def key(self) -> object:
        return self.layout.key() if self else []

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LayoutGroups):
            if self.key() == other.key():
                return True
            if all(one.layout.ragged is None and one.layout.at is None for one in (self, other)):
                return False  # canonical factors are equal if the groups are
        return super().__eq__(other)

    __hash__ = None


class ListedGroups(Groups):
    """Groups that are given as lists, in any order."""

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
    """Return the groups of a layout, in order."""
    groups = LayoutGroups(layout)
    ragged = layout.ragged
    if layout.at is None or ragged is None:
        return groups
    # A position that is kept of a later, shorter group may be the lower rank, so the order must be found anew.
    around = layout.factors and layout.factors[0][1] >= ragged.whole * ragged.stride
    return ListedGroups(groups) if around or ragged.side == "outer" else groups
