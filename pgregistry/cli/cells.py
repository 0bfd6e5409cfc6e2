"""Cells of tables: what a mode is over, how many groups it has, and the ranks of one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pgregistry.planning.plans.mode import PlannedMode

#: A cell shows the ranks of groups up to this size, and the first and the last ones of larger groups.
SHOWN: Final = 8


def over(mode: PlannedMode) -> str:
    """Return what varies inside a group, or `listed` if a function lists the groups."""
    if mode.layout is None:
        return "listed"
    at = "" if mode.layout.at is None else f" at {', '.join(map(str, mode.layout.at))}"
    return (", ".join(mode.over) or "each rank alone") + at


def counts(mode: PlannedMode) -> str:
    """Return how many groups there are of each size, as in `2 × 6 + 1 × 4`."""
    return " + ".join(f"{number} × {size}" for size, number in mode.groups.sizes().items()) or "none"


def group(mode: PlannedMode, rank: int) -> str:
    """Return the ranks of the group that a rank is in, the middle left out if there are many.

    >>> import pgregistry
    >>> group(pgregistry.plan(1 << 40)["global"], 0)
    '0 1 2 3 4 … 1099511627775'
    """
    sample = mode.groups.sample(rank, SHOWN)
    return "nobody" if sample is None else shortened(sample.first, sample.size, sample.last)


def shortened(first: Sequence[int], size: int, last: int) -> str:
    """Return a text of `size` ranks of which the first ones and the last one are given.

    >>> shortened(range(8), 8, 7), shortened(range(8), 16, 15)
    ('0 1 2 3 4 5 6 7', '0 1 2 3 4 … 15')
    """
    if size <= SHOWN:
        return " ".join(map(str, first[:size]))
    return " ".join(map(str, first[: SHOWN - 3])) + f" … {last}"
