"""Levels above a rank: what of a layout lies inside one host, or one domain of hosts.

With 4 ranks a host, the groups over factor (4, 2) have two ranks on each host:

    position  0 1 2 3   4 5 6 7
    over      0 . 2 .   4 . 6 .      outer (2, 4), inner (2, 2)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import groupby

from pgregistry.layouts.factors import Factor, Factors, merge


def cut_at(factors: Factors, share: int) -> tuple[Factors, Factors] | None:
    """Return canonical factors as (outer, inner), where `inner` is what lies inside a run of `share` positions.

    Return None if runs would hold unequal shares.

    >>> cut_at(((4, 2),), 4), cut_at(((3, 4),), 6)
    ((((2, 4),), ((2, 2),)), None)
    """
    outer: list[Factor] = []
    inner: list[Factor] = []
    for size, stride in factors:
        if stride >= share:
            outer.append((size, stride))
        elif share % (size * stride) == 0:
            inner.append((size, stride))
        elif share % stride == 0 and size * stride % share == 0:
            inner.append((share // stride, stride))
            outer.append((size * stride // share, share))
        else:
            return None
    return merge(outer), merge(inner)


def run_length(keys: Iterable[Hashable], *, ragged: bool = False) -> int | None:
    """Return how long the runs of equal keys are; None if they are not equally long, or a key has more than one.

    >>> run_length("aabb"), run_length("abab"), run_length("aaabb", ragged=True)
    (2, None, 3)

    Args:
        keys: One for each position.
        ragged: Allow a short last run.
    """
    runs = [(key, sum(1 for _ in run)) for key, run in groupby(keys)]
    first, last = runs[0][1], runs[-1][1]
    equal = all(length == first for _, length in runs[:-1]) and (last == first or (ragged and last < first))
    return first if equal and len({key for key, _ in runs}) == len(runs) else None
