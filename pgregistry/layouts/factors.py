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
