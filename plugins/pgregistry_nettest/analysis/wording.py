"""Format ranks, bytes and seconds for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: The letters that a number of bytes can end with.
UNITS: Final = {"G": 1 << 30, "M": 1 << 20, "K": 1 << 10, "": 1}


def format_ranks(ranks: Iterable[int]) -> str:
    """Return ranks as ranges.

    >>> format_ranks([0, 1, 2, 5]), format_ranks([3])
    ('ranks 0-2, 5', 'rank 3')
    """
    ranges: list[list[int]] = []
    for rank in sorted(ranks):
        if ranges and rank == ranges[-1][-1] + 1:
            ranges[-1][1:] = [rank]
        else:
            ranges.append([rank])
    several = len(ranges) > 1 or len(ranges[0]) > 1
    return f"rank{'s' * several} " + ", ".join("-".join(map(str, one)) for one in ranges)


def format_size(size: int) -> str:
    """Return a number of bytes in the largest unit that divides it.

    >>> format_size(1 << 20), format_size(1536), format_size(10)
    ('1M', '1536', '10')
    """
    return next(f"{size // unit}{letter}" for letter, unit in UNITS.items() if size % unit == 0)


def format_seconds(seconds: float) -> str:
    """Return a duration in the unit that fits it.

    >>> format_seconds(0.02512), format_seconds(0.00031), format_seconds(1.5)
    ('25.1 ms', '310 µs', '1.5 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
