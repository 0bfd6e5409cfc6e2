"""Factors of the world as (size, stride): the arithmetic that groups are made of.

A rank is a number in a mixed radix: each *factor* (size, stride) is one of its digits. A group
lets some digits vary and holds the others. So one rank's group costs O(its size), however
large the world is.

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


def merge(factors: Iterable[Factor]) -> Factors:
    """Factors in canonical form: outermost first, no size 1, adjacent ones joined."""
    merged: list[Factor] = []
    for size, stride in sorted(factors, key=lambda factor: -factor[1]):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def whole(factors: Factors) -> int:
    """How many positions the factors have together."""
    return prod(size for size, _ in factors)


def cut(factors: Factors, inner: int) -> tuple[Factors, Factors] | None:
    """Canonical factors as (outer, inner), `inner` positions inside; None where no cut fits."""
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
    """The inner sizes at which canonical factors can be cut, ascending.

    >>> cuts(((4, 6), (6, 1)))
    [1, 2, 3, 6, 12, 24]
    """
    sizes, inside = {1}, 1
    for size, _ in reversed(factors):
        sizes.update(inside * divisor for divisor in divisors(size))
        inside *= size
    return sorted(sizes)


def divisors(number: int) -> list[int]:
    """All divisors of a positive number, ascending."""
    low = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return low + [number // n for n in reversed(low) if n * n != number]


@dataclass(frozen=True, slots=True)
class Ragged:
    """A digit of `whole` positions in runs of `size`, the last of which is short.

    `side` says whether a group holds the positions of one run ("inner") or one position of
    each run ("outer").
    """

    whole: int
    size: int
    stride: int
    side: str

    @property
    def fixed(self) -> Factor:
        """How many different groups this digit makes, and how far apart they start."""
        if self.side == "inner":
            return -(-self.whole // self.size), self.size * self.stride
        return self.size, self.stride

    @property
    def runs(self) -> tuple[Factor, Factor]:
        """How many groups this digit makes of which length: the longer ones first."""
        full, rest = divmod(self.whole, self.size)
        if self.side == "inner":
            return (full, self.size), (1, rest)
        return (rest, full + 1), (self.size - rest, full)

    def free(self, fixed: int) -> Factor:
        """What varies in the `fixed`-th of them."""
        if self.side == "inner":
            return min(self.size, self.whole - fixed * self.size), self.stride
        return -(-(self.whole - fixed) // self.size), self.size * self.stride


@dataclass(frozen=True, slots=True)
class Layout:
    """All groups of one mode, as numbers that do not grow with the world.

    Args:
        world: How many positions there are.
        factors: What varies inside a group, in canonical form; not the ragged part.
        ragged: What else varies, in runs of which the last is short.
        at: The positions that each group keeps; None for all.
    """

    world: int
    factors: Factors
    ragged: Ragged | None = None
    at: tuple[int, ...] | None = None

    def kept(self, size: int) -> Sequence[int]:
        """The positions that a group of this size keeps, ascending."""
        if self.at is None:
            return range(size)
        return sorted({position % size for position in self.at if -size <= position < size})

    def canonical(self) -> tuple[object, ...]:
        """A value that is equal only for layouts that make the same groups, however they were said."""
        if self.at is None:
            return (self.world, self.factors, self.ragged, None)
        if self.ragged:
            longest = whole(self.factors) * max(size for count, size in self.ragged.runs if count)
            within = tuple(sorted({position for position in self.at if -longest <= position < longest}))
            return (self.world, self.factors, self.ragged, within)
        size = whole(self.factors)
        kept = tuple(self.kept(size))
        if not kept:
            return ()
        return (self.world, self.factors, None, None if len(kept) == size else kept)


def coordinate(factors: Factors, rank: int) -> int:
    """The position of a rank along canonical factors.

    >>> coordinate(((4, 4), (2, 1)), 13)    # 13 = 3·4 + 0·2 + 1
    7
    """
    position = 0
    for size, stride in factors:
        position = position * size + rank // stride % size
    return position


def offset(factors: Sequence[Factor], position: int) -> int:
    """The rank at a position along factors: the opposite of `coordinate`.

    >>> offset(((4, 4), (2, 1)), 7)
    13
    """
    rank = 0
    for size, stride in reversed(factors):
        position, digit = divmod(position, size)
        rank += digit * stride
    return rank
