"""Cuts at a level, beside every layout of small worlds."""

from __future__ import annotations

from itertools import combinations

import pytest

from pgregistry.layouts.factors import Factors, divisors, merge
from pgregistry.layouts.groups import LayoutGroups
from pgregistry.layouts.layout import Layout
from pgregistry.layouts.levels import cut_at, run_length


def layouts(world: int, most: int) -> list[Factors]:
    """Return every layout of some factors of a world, in canonical form."""
    factors = [(stop // stride, stride) for stop in divisors(world) for stride in divisors(stop) if stop > stride]
    found = {merge(some) for count in range(most + 1) for some in combinations(factors, count) if apart(some)}
    return sorted(found)


def apart(some: tuple[tuple[int, int], ...]) -> bool:
    return all(a * b <= d or c * d <= b for (a, b), (c, d) in combinations(some, 2)) and all(
        high % (low * size) == 0 for (_, high), (size, low) in combinations(sorted(some, key=lambda one: -one[1]), 2)
    )


@pytest.mark.parametrize("world", [12, 16, 30])
def test_a_layout_is_cut_at_a_level_exactly_if_runs_hold_equal_shares_of_every_group(world: int) -> None:
    cut_somewhere = 0
    for factors in layouts(world, 2):
        for share in divisors(world):
            groups = LayoutGroups(Layout(world, factors))
            parts = [
                [rank for rank in group if rank // share == run] for group in groups for run in range(world // share)
            ]
            parts = sorted(part for part in parts if part)
            halves = cut_at(factors, share)
            if len({len(part) for part in parts}) > 1:
                assert halves is None, (factors, share)
                continue
            assert halves is not None, (factors, share)
            outer, inner = halves
            assert [list(group) for group in LayoutGroups(Layout(world, inner))] == parts
            assert merge((*outer, *inner)) == factors
            cut_somewhere += bool(outer and inner)
    assert cut_somewhere > 10


@pytest.mark.parametrize(
    ("keys", "ragged", "length"),
    [
        ("aabb", False, 2),
        ("bbaa", False, 2),
        ("a", False, 1),
        ("abab", False, None),
        ("aab", False, None),
        ("aab", True, 2),
        ("abb", True, None),
        ("aaba", True, None),
        ("aabcc", True, None),
    ],
)
def test_runs_are_equally_long_and_each_key_has_one(keys: str, ragged: bool, length: int | None) -> None:
    assert run_length(keys, ragged=ragged) == length
