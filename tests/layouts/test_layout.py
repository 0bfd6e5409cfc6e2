"""Layouts: which are equal."""

from __future__ import annotations

import pytest

from pgregistry.layouts.layout import Layout, Ragged

FOUR = ((4, 1),)
RUNS = Ragged(8, 3, 1, "inner")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Layout(8, FOUR, at=(0, -1)), Layout(8, FOUR, at=(3, 0))),
        (Layout(8, FOUR, at=(0, -1)), Layout(8, FOUR, at=(0, 9, 3, -4))),
        (Layout(8, FOUR, at=(0, 1, 2, 3)), Layout(8, FOUR)),
        (Layout(8, (), RUNS, (0, 7, -9)), Layout(8, (), RUNS, (0,))),
        (Layout(8, (), RUNS, (0, -1)), Layout(8, (), RUNS, (-1, 0))),
    ],
)
def test_layouts_that_keep_the_same_positions_have_one_key(one: Layout, two: Layout) -> None:
    assert one.key() == two.key()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Layout(8, FOUR), Layout(16, FOUR)),
        (Layout(8, FOUR), Layout(8, ((4, 2),))),
        (Layout(8, FOUR, at=(0,)), Layout(8, FOUR, at=(1,))),
        (Layout(8, (), RUNS), Layout(8, (), Ragged(8, 3, 1, "outer"))),
        (Layout(8, (), RUNS, (0, -1)), Layout(8, (), RUNS, (0, 2))),
    ],
)
def test_layouts_of_other_groups_have_other_keys(one: Layout, two: Layout) -> None:
    assert one.key() != two.key()
