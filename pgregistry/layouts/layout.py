"""Arithmetic with factors (size, stride) of the world.

A rank is a number in a mixed radix, and each *factor* (size, stride) is one of its digits. In a
group some digits vary and the others are fixed. So the group of one rank takes O(its size), at
any world size.

>>> merge([(2, 1), (4, 2)])            # 4 × 2, adjacent: one digit
((8, 1),)
>>> cut(((4, 4), (2, 1)), 4)           # the inner 4 of 4 × 2, with a gap between
(((2, 8),), ((2, 4), (2, 1)))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import TypeAlias

Factor: TypeAlias = tuple[int, int]
Factors: TypeAlias = tuple[Factor, ...]
#: Factors with a position along each: (size, stride, position).
Positions: TypeAlias = tuple[tuple[int, int, int], ...]


def merge(factors: Iterable[Factor]) -> Factors:
    """Return factors in canonical form: outermost first, without size 1, adjacent ones joined."""
    merged: list[Factor] = []
    for size, stride in sorted(factors, key=lambda factor: -factor[1]):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def pin(places: Iterable[tuple[Factors, int]]) -> Positions:
    """Return positions along canonical factors in canonical form: outermost first, without size 1, adjacent joined.

    Negative positions count from the end. One that is not there makes all others irrelevant.

    >>> pin([(((4, 4),), -1), (((2, 2),), 0), (((2, 1),), 1)])    # 3·4 + 0·2 + 1
    ((16, 1, 13),)
    >>> pin([(((4, 4),), 0), (((2, 2),), 2)])
    ((2, 2, 2),)
    """
    pinned: list[tuple[int, int, int]] = []
    for factors, position in places:
        total, stride = whole(factors), factors[-1][1] if factors else 1
        if not -total <= position < total:
            return ((total, stride, position),)
        rank = offset(factors, position % total)
        pinned += [(size, stride, rank // stride % size) for size, stride in factors]
    joined: list[tuple[int, int, int]] = []
    for size, stride, position in sorted(pinned, key=lambda one: -one[1]):
        if joined and joined[-1][1] == size * stride:
            outer, _, outer_position = joined.pop()
            size, position = outer * size, outer_position * size + position
        joined.append((size, stride, position))
    return tuple(joined)


def whole(factors: Factors) -> int:
    """Return how many positions the factors have together."""
    return prod(size for size, _ in factors)


def cut(factors: Factors, inner: int) -> tuple[Factors, Factors] | None:
    """Return canonical factors as (outer, inner), with `inner` positions inside; None if no cut fits."""
    outside, inside = list(factors), []
    while inner > 1:
        if not outside:
            return None
        size, stride = outside.pop()
        if inner % size == 0:
            inside.append((size, stride))
            inner //= size
        elif size % inner == 0:
            inside.append((inner, stride))
            outside.append((size // inner, stride * inner))
            inner = 1
        else:
            return None
    return tuple(outside), merge(inside)


def cuts(factors: Factors) -> list[int]:
    """Return the inner sizes at which canonical factors can be cut, ascending.

    >>> cuts(((4, 6), (6, 1)))
    [1, 2, 3, 6, 12, 24]
    """
    sizes, inside = {1}, 1
    for size, _ in reversed(factors):
        sizes.update(inside * divisor for divisor in divisors(size))
        inside *= size
    return sorted(sizes)


def outer_sizes(factors: Factors) -> list[int]:
    """Return the outer sizes at which canonical factors can be cut, ascending."""
    total = whole(factors)
    return sorted(total // size for size in cuts(factors))


def run_counts(total: int) -> list[int]:
    """Return the numbers of runs, the last of which may be short, that a whole can be cut into, ascending.

    >>> run_counts(8)
    [1, 2, 3, 4, 8]
    """
    low = range(1, min(total, isqrt(total) + 1) + 1)
    few = {count for count in low if -(-total // -(-total // count)) == count}
    return sorted(few | {-(-total // size) for size in low})


def divisors(number: int) -> list[int]:
    """Return all divisors of a positive number, ascending."""
    low = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return low + [number // n for n in reversed(low) if n * n != number]


@dataclass(frozen=True, slots=True)
class Ragged:
    """A digit of `whole` positions in runs of `size`, the last of which is short.

    A group has the positions of one run if `side` is "inner", and one position of each run if it
    is "outer".
    """

    whole: int
    size: int
    stride: int
    side: str

    @property
    def fixed_stride(self) -> int:
        """Return how far apart the groups start that this digit makes."""
        return self.size * self.stride if self.side == "inner" else self.stride

    @property
    def runs(self) -> tuple[Factor, Factor]:
        """Return the groups of this digit as (how many, length), the longer ones first."""
        full, rest = divmod(self.whole, self.size)
        if self.side == "inner":
            return (full, self.size), (1, rest)
        return (rest, full + 1), (self.size - rest, full)

    def digits(self, rank: int) -> tuple[int, int]:
        """Return the two digits of a rank: the one that is fixed in its group, and the one that varies."""
        run, position = divmod(rank // self.stride % self.whole, self.size)
        return (run, position) if self.side == "inner" else (position, run)

    def free(self, fixed: int) -> Factor:
        """Return the factor that varies in the group with index `fixed`."""
        if self.side == "inner":
            return min(self.size, self.whole - fixed * self.size), self.stride
        return -(-(self.whole - fixed) // self.size), self.size * self.stride


@dataclass(frozen=True, slots=True)
class Layout:
    """All groups of one mode, as numbers that do not grow with the world.

    Args:
        world: How many positions there are.
        factors: The factors that vary inside a group, in canonical form, without the ragged one.
        ragged: The factor that varies in runs of which the last is short, if there is one.
        at: The positions that each group keeps; None for all.
        where: The positions outside of the groups that all groups are at, as `pin` returns them.
    """

    world: int
    factors: Factors
    ragged: Ragged | None = None
    at: tuple[int, ...] | None = None
    where: Positions = ()

    def has(self, rank: int) -> bool:
        """Return True if a rank is in the world, and at the positions of `where`."""
        return 0 <= rank < self.world and all(rank // stride % size == place for size, stride, place in self.where)

    def free(self, fixed: int = 0) -> Factors:
        """Return the factors that vary in a group, outermost first, the ragged one at the length of run `fixed`."""
        if self.ragged is None:
            return self.factors
        return tuple(sorted((*self.factors, self.ragged.free(fixed)), key=lambda factor: -factor[1]))

    def fixed(self, runs: int = 1) -> Factors:
        """Return the digits that are the same inside a group, outermost first, the ragged one with `runs` values."""
        ragged, held, above = self.ragged, list[Factor](), self.world
        taken = [*self.factors, *((size, stride) for size, stride, _ in self.where)]
        taken += [(ragged.whole, ragged.stride)] if ragged else []
        for size, stride in sorted(taken, key=lambda factor: -factor[1]):
            held.append((above // (size * stride), size * stride))
            if ragged and stride == ragged.stride:
                held.append((runs, ragged.fixed_stride))
            above = stride
        return tuple((size, stride) for size, stride in (*held, (above, 1)) if size != 1)

    def kept(self, size: int) -> Sequence[int]:
        """Return the positions that a group of this size keeps, ascending."""
        if self.at is None:
            return range(size)
        return sorted({position % size for position in self.at if -size <= position < size})

    def key(self) -> tuple[object, ...]:
        """Return a tuple for fingerprints. Equal keys are of equal groups.

        Positions out of range and doubles in `at` do not change the key, nor does their order.

        >>> Layout(8, ((4, 1),), at=(0, -1, 9)).key() == Layout(8, ((4, 1),), at=(3, 0)).key()
        True
        """
        ragged, at, factors, where = None, self.at, self.factors, self.where
        if self.ragged is not None:
            ragged = (self.ragged.whole, self.ragged.size, self.ragged.stride, self.ragged.side)
            longest = whole(self.factors) * max(length for count, length in self.ragged.runs if count)
            at = None if at is None else tuple(sorted({place for place in at if -longest <= place < longest}))
        elif at is not None:
            size = whole(self.factors)
            kept = tuple(self.kept(size))
            at = None if len(kept) == size else kept
            if len(kept) == 1:  # each rank alone, at one more position
                pinned = [(((size, stride),), position) for size, stride, position in where]
                at, factors, where = None, (), pin([*pinned, (factors, kept[0])])
        return (self.world, factors, ragged, at, *([where] if where else []))


def coordinate(factors: Factors, rank: int) -> int:
    """Return the position of a rank along canonical factors.

    >>> coordinate(((4, 4), (2, 1)), 13)    # 13 = 3·4 + 0·2 + 1
    7
    """
    position = 0
    for size, stride in factors:
        position = position * size + rank // stride % size
    return position


def offset(factors: Sequence[Factor], position: int) -> int:
    """Return the rank at a position along factors, the inverse of `coordinate`.

    >>> offset(((4, 4), (2, 1)), 7)
    13
    """
    rank = 0
    for size, stride in reversed(factors):
        position, digit = divmod(position, size)
        rank += digit * stride
    return rank


def locate(factors: Sequence[Factor], rank: int) -> int:
    """Return the position that has this offset along factors. A short run may be among them.

    >>> locate(((2, 8), (3, 1)), 10)    # 10 = 1·8 + 2·1
    5
    """
    position = 0
    for size, stride in factors:
        digit, rank = divmod(rank, stride)
        position = position * size + digit
    return position
