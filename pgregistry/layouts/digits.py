"""Digits of a rank: which of them modes vary, and which modes leave no gap together.

A factor (size, stride) takes the strides from `stride` up to `size * stride`:

    stride    1     2     4     8     16
    tensor    |--2--|                       (2, 1)
    pipe            |--2--|                 (2, 2)
    data                  |-----4-----|     (4, 4)
    shard                 |--2--|           (2, 4): not apart from data, but inside of it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgregistry.layouts.factors import Factors, whole


def apart(some: Factors, others: Factors) -> bool:
    """Return True if two modes vary different digits of a rank.

    >>> apart(((2, 1),), ((4, 4),)), apart(((2, 4),), ((4, 4),))
    (True, False)
    """
    return all(
        size * stride <= other_stride or other_size * other_stride <= stride
        for size, stride in some
        for other_size, other_stride in others
    )


def inside(some: Factors, others: Factors) -> bool:
    """Return True if one mode varies nothing that another does not.

    >>> inside(((2, 4),), ((4, 4),)), inside(((4, 4),), ((2, 4),))
    (True, False)
    """
    return all(
        any(
            other_stride <= stride and size * stride <= other_size * other_stride for other_size, other_stride in others
        )
        for size, stride in some
    )


def outermost(factors: Factors) -> int:
    """Return the largest stride of a mode; 0 if it varies nothing."""
    return max((stride for _, stride in factors), default=0)


def cover(positions: int, chosen: Mapping[str, Factors], rest: Mapping[str, Factors]) -> dict[str, Factors] | None:
    """Return the chosen modes and those of the rest that leave no gap in the drawing above; None if none do.

    Modes that are apart leave no gap if their sizes multiply to the number of positions. Earlier modes
    of the rest are preferred. A mode that fits may still leave a gap that no other fills, so that it is
    tried again without it.

    >>> rest = {"data": ((4, 4),), "model": ((4, 1),), "pipe": ((2, 2),), "tensor": ((2, 1),)}
    >>> list(cover(16, {"tensor": ((2, 1),)}, rest))
    ['tensor', 'data', 'pipe']
    """
    distinct: dict[Factors, str] = {}  # of modes with equal groups the first is enough
    for name, factors in rest.items():
        if factors:
            distinct.setdefault(factors, name)
    return _cover(positions, dict(chosen), [(name, factors) for factors, name in distinct.items()])


def _cover(
    positions: int, chosen: dict[str, Factors], rest: Sequence[tuple[str, Factors]]
) -> dict[str, Factors] | None:
    size = 1
    for factors in chosen.values():
        size *= whole(factors)
    if size == positions:
        return chosen
    for index, (name, factors) in enumerate(rest):
        if all(apart(factors, other) for other in chosen.values()):
            found = _cover(positions, {**chosen, name: factors}, rest[index + 1 :])
            if found is not None:
                return found
    return None
