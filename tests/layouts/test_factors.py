"""Arithmetic of factors: where a whole can be cut."""

from __future__ import annotations

from pgregistry.layouts.factors import outer_sizes, run_counts


def test_the_run_counts_are_those_that_some_length_of_run_makes() -> None:
    for total in range(1, 200):
        assert run_counts(total) == sorted({-(-total // size) for size in range(1, total + 1)}), total
    assert len(run_counts(1 << 40)) == 2 * (1 << 20) - 1


def test_the_outer_sizes_are_what_the_cuts_leave() -> None:
    assert outer_sizes(((4, 6), (6, 1))) == [1, 2, 4, 8, 12, 24]
