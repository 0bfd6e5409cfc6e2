"""Ranks in words."""

from __future__ import annotations

from collections.abc import Iterable


def spans(ranks: Iterable[int]) -> str:
    """Ranks for people.

    >>> spans([0, 1, 2, 5]), spans([3])
    ('ranks 0-2, 5', 'rank 3')
    """
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    shown = ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in runs)
    return f"rank{'' if len(runs) == 1 and runs[0][0] == runs[0][1] else 's'} {shown}"
