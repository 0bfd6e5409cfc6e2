"""A group is the set of ranks that agree on everything except what the mode is over."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import THREE, extras, planned
from random_worlds import AT, EXAMPLES, agreeing, check, divided, keeping, world_of, worlds, worlds_with_where

import pgregistry
from pgregistry import WORLD, Axis, Mode, Plan, Split
from pgregistry.layouts.groups import Groups


@EXAMPLES
@given(worlds(ragged=False), AT)
def test_groups_are_the_ranks_that_agree_on_everything_else(world: dict[str, Any], at: tuple[int, ...] | None) -> None:
    asked = Mode("asked", over=world["over"], at=at)
    plan = planned(world["world_size"], *world["modes"], asked, **world["keywords"])
    check(plan["asked"].groups, keeping(world["groups"], at), world["world_size"])


@EXAMPLES
@given(worlds_with_where(), AT)
def test_groups_are_those_at_the_positions_of_where(world: dict[str, Any], at: tuple[int, ...] | None) -> None:
    asked = Mode("asked", over=world["over"], at=at, where=world["where"])
    plan = planned(world["world_size"], *world["modes"], asked, **world["keywords"])
    check(plan["asked"].groups, keeping(world["groups"], at), world["world_size"])
    assert Plan.from_json(plan.to_json()) == plan


@EXAMPLES
@given(worlds(ragged=True), st.none() | st.lists(st.integers(-3, 3), min_size=1, max_size=2).map(tuple))
def test_the_last_group_of_a_ragged_split_is_short(world: dict[str, Any], at: tuple[int, ...] | None) -> None:
    asked = Mode("asked", over=world["over"], at=at)
    plan = planned(world["world_size"], *world["modes"], asked, **world["keywords"])
    check(plan["asked"].groups, keeping(world["groups"], at), world["world_size"])


@pytest.mark.parametrize("side", ["inner", "outer"])
@pytest.mark.parametrize("nesting", list(permutations(["ring", "lane", "bank"])), ids=" around ".join)
def test_a_ragged_part_mixes_with_an_axis_around_or_inside_it_at_any_position(
    nesting: tuple[str, ...], side: str
) -> None:
    for length, size in ((3, 2), (5, 2), (5, 3), (7, 3)):
        sizes = {name: length if name == "ring" else 2 for name in nesting}
        place = divided(world_of(sizes), {"ring"}, size, "outer", "inner")
        part = getattr(Split("ring", inner="near", size=size, ragged=True), side)
        positions = [None, *((at,) for at in range(-4, 6)), (0, -1), (1, -2)]
        modes = [Mode(name, over=Axis(name, sizes[name])) for name in nesting]
        modes += [Mode(f"at {at}", over=("lane", part), at=at) for at in positions]
        plan = planned(len(place), *modes, order=nesting)
        for at in positions:
            check(plan[f"at {at}"].groups, keeping(agreeing(place, {"lane", side}), at), len(place))


def test_a_mode_over_world_is_one_group_and_over_nothing_is_each_rank_alone() -> None:
    plan = planned(4, Mode("everyone", over=WORLD), Mode("alone", over=()))
    assert list(plan["everyone"].groups) == [(0, 1, 2, 3)]
    assert list(plan["alone"].groups) == [(0,), (1,), (2,), (3,)]


def test_the_outer_groups_of_a_ragged_split_are_shorter_towards_the_end() -> None:
    plan = planned(8, Mode("far", over=Split(WORLD, inner="near", size=3, ragged=True).outer))
    assert list(plan["far"].groups) == [(0, 3, 6), (1, 4, 7), (2, 5)]


def test_first_ranks_ascend_where_a_short_last_group_keeps_a_later_position() -> None:
    outermost, between = Mode("bank", over=Axis("bank", 2)), Mode("lane", over=Axis("lane", 2, inside="bank"))
    near = Split(Axis("ring", 5, inside="lane"), inner="near", size=2, ragged=True)
    plan = planned(20, outermost, between, Mode("second", over=("bank", near), at=1))
    assert list(plan["second"].groups) == [(1,), (3,), (6,), (8,), (14,), (19,)]
    assert [plan["second"].groups.index_of(rank) for rank in (1, 14, 6)] == [0, 4, 2]


def test_both_parts_of_a_ragged_split_are_all_of_it() -> None:
    split = Split("ring", inner="near", size=2, ragged=True)
    plan = planned(12, *THREE, Mode("both", over=(split.outer, split.inner)))
    assert plan["both"].groups == plan["ring"].groups


def test_a_group_that_no_rank_of_the_world_is_in_is_not_in_the_groups() -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    assert [group in groups for group in ((8, 9), (-2, -1), ("0", "1"), 0, "01", ())] == [False] * 6


@pytest.mark.parametrize("rank", [-1, 8])
def test_a_rank_out_of_range_is_in_no_group(rank: int) -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    assert groups.group_of(rank) is None
    assert groups.index_of(rank) is None


def test_an_index_out_of_range_is_an_index_error() -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"^there are 4 groups; {index} is out of range$"):
            groups[index]


def test_positions_out_of_every_group_leave_a_mode_without_groups() -> None:
    groups = planned(12, *THREE, Mode("third", over="lane", at=2))["third"].groups
    assert (len(groups), list(groups), groups.sizes(), groups.group_of(0)) == (0, [], {}, None)


def test_the_data_groups_of_the_last_stage_are_in_closed_form_at_any_world_size() -> None:
    loss = Mode("loss", over="data", where={"pipe": -1})
    small = pgregistry.plan(8, pipe=2, tensor=2, extra=[loss])
    assert list(small["loss"].groups) == [(2, 6), (3, 7)]
    assert (small["loss"].group_of(0), small["loss"].groups.index_of(7)) == (None, 1)
    large = pgregistry.plan(1 << 40, pipe=16, tensor=8, extra=[Mode("loss", over=("data",), where={"pipe": -1}, at=-1)])
    assert large["loss"].group_of((1 << 40) - 3) == ((1 << 40) - 3,)
    assert (large["loss"].group_of(8), len(large["loss"].groups)) == (None, 8)


def test_a_position_that_is_not_there_leaves_a_mode_without_groups() -> None:
    for position in (2, -3):
        groups = extras(8, *THREE[1:], Mode("m", over="stage", where={"lane": position}))["m"].groups
        assert (len(groups), list(groups), groups.group_of(0), groups.index_of(0), groups.sizes()) == (
            0,
            [],
            None,
            None,
            {},
        )


def test_a_million_ranks_are_planned_without_listing_their_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    def iterate(self: Groups) -> Any:
        raise AssertionError("all groups were asked for")

    monkeypatch.setattr(Groups, "__iter__", iterate)
    plan = pgregistry.plan(1 << 20, tensor=8, pipe=16, zero1=64)
    last = (1 << 20) - 1
    assert plan["tensor"].group_of(last) == tuple(range(last - 7, last + 1))
    assert plan["pipe"].group_of(last) == tuple(range(last - 120, last + 1, 8))
    assert plan["zero1"].groups[-1] == tuple(range(last - 63 * 128, last + 1, 128))
    assert (len(plan["dummy"].groups), plan["data"].groups.sizes()) == (1 << 20, {8192: 128})
    document = json.loads(plan.to_json())
    assert not any("groups" in mode for mode in document["modes"])
    assert len(plan.fingerprint) == 32


def test_a_million_ranks_with_a_short_last_group_are_not_listed_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def iterate(self: Groups) -> Any:
        raise AssertionError("all groups were asked for")

    monkeypatch.setattr(Groups, "__iter__", iterate)
    near = Split(WORLD, inner="near", size=7, ragged=True)
    plan = extras(1 << 20, Mode("near", over=near), Mode("first", over=near, at=0))
    assert plan["near"].group_of(15) == tuple(range(14, 21))
    assert (plan["first"].group_of(14), plan["first"].group_of(15)) == ((14,), None)


LARGEST = 1 << 40
HALF = Split(WORLD, inner="half", size=(1 << 39) + 1, ragged=True)


def test_groups_of_the_largest_world_are_never_built_for_a_look() -> None:
    plan = pgregistry.plan(
        LARGEST, tensor=2, extra=[Mode("ends", over="data", at=(0, -1)), Mode("half", over=HALF), Mode("w", over=WORLD)]
    )
    shown = {name: repr(plan[name].groups) for name in ("data", "half", "w", "ends", "tensor")}
    assert shown == {
        "data": "<2 groups of 549755813888 ranks>",
        "half": "<2 groups of 549755813889 or 549755813887 ranks>",
        "w": "<1 group of 1099511627776 ranks>",
        "ends": "<2 groups: (0, 1099511627774), (1, 1099511627775)>",
        "tensor": "<549755813888 groups: (0, 1), (2, 3), (4, 5), (6, 7), …>",
    }
    assert [len(plan[name].groups) for name in shown] == [2, 2, 1, 2, 1 << 39]
    assert [plan[name].groups.index_of(LARGEST - 1) for name in shown] == [1, 1, 0, 1, (1 << 39) - 1]
    assert plan["half"].groups.sizes() == {(1 << 39) + 1: 1, (1 << 39) - 1: 1}
    assert plan["ends"].group_of(5) is None
    assert plan["data"].groups != plan["tensor"].groups
    assert plan["data"].groups == plan["zero1"].groups
    assert plan["data"].groups != plan["w"].groups
    assert len(repr(plan)) < 10_000
    assert plan == Plan.from_json(plan.to_json())


def test_an_index_that_cannot_be_printed_is_an_index_error() -> None:
    groups = planned(8, Mode("ring", over=Axis("ring", 2)))["ring"].groups
    with pytest.raises(IndexError, match="a number of thousands of digits is out of range"):
        groups[10**5000]


def test_large_groups_are_shown_by_their_sizes_and_small_ones_by_their_ranks() -> None:
    assert repr(planned(64, Mode("m", over=WORLD))["m"].groups) == f"<1 group: {tuple(range(64))}>"
    assert repr(planned(65, Mode("m", over=WORLD))["m"].groups) == "<1 group of 65 ranks>"
    assert repr(planned(65, Mode("m", groups=lambda mesh: [range(65)]))["m"].groups) == "<1 group of 65 ranks>"
