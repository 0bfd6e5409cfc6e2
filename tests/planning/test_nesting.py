"""The nesting of axes, and the errors if it is not declared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from plans import THREE, planned, refusal
from random_worlds import EXAMPLES, agreeing, world_of

from pgregistry import Axis, ConfigError, Mode, PluginError, Split


@EXAMPLES
@given(st.permutations(["ring", "lane", "stage"]), st.permutations(["ring", "lane", "stage"]), st.data())
def test_order_replaces_the_declared_nesting(declared: list[str], order: list[str], data: st.DataObject) -> None:
    sizes = {name: data.draw(st.integers(1, 4)) for name in order}
    around = dict(zip(declared[1:], declared, strict=False))
    modes = [Mode(name, over=Axis(name, sizes[name], inside=around.get(name, ()))) for name in declared]
    place = world_of(sizes)
    plan = planned(len(place), *modes, order=order)
    assert plan.order == tuple(order)
    assert {name: list(plan[name].groups) for name in order} == {name: agreeing(place, {name}) for name in order}


def test_an_axis_of_size_1_moves_nobody_wherever_it_nests() -> None:
    alone = planned(12, *THREE)
    for nesting in ({}, {"inside": "ring", "outside": "lane"}, {"inside": "stage"}, {"outside": "ring"}):
        plan = planned(12, *THREE, Mode("bank", over=Axis("bank", **nesting)))
        assert [plan[name].groups for name in alone] == [alone[name].groups for name in alone]
        assert list(plan["bank"].groups) == [(rank,) for rank in range(12)]


def test_axes_that_nest_in_a_cycle_are_refused_with_the_cycle() -> None:
    modes = [Mode(name, over=Axis(name, inside=around)) for name, around in (("a", "b"), ("b", "c"), ("c", "a"))]
    assert refusal(PluginError, 8, *modes) == "Axes nest in a cycle: 'a' inside 'b' inside 'c' inside 'a'."


def test_two_large_axes_that_nobody_nests_are_refused_and_never_sorted_by_name() -> None:
    modes = Mode("ring", over=Axis("ring", 2)), Mode("lane", over=Axis("lane", 2))
    assert refusal(PluginError, 8, *modes) == (
        "Axes 'lane' (plugin 'extra') and 'ring' (plugin 'extra') are both larger than 1 and neither is inside the "
        "other.\nSet their order, outermost first, as in order=['lane', 'ring'], "
        "or ask the author of one to declare inside= or outside=."
    )


def test_order_decides_between_axes_that_nobody_nests() -> None:
    modes = Mode("ring", over=Axis("ring", 2)), Mode("lane", over=Axis("lane", 2))
    assert planned(4, *modes, order=["ring", "lane"])["lane"].groups[0] == (0, 1)
    assert planned(4, *modes, order=["lane", "ring"])["lane"].groups[0] == (0, 2)


def test_an_axis_between_two_others_makes_them_comparable() -> None:
    modes = [Mode("ring", over=Axis("ring", 2)), Mode("stage", over=Axis("stage", 2))]
    between = Mode("lane", over=Axis("lane", inside="ring", outside="stage"))
    assert planned(4, *modes, between).order == ("ring", "lane", "stage")


def test_order_may_leave_out_axes_of_size_1_only() -> None:
    assert planned(12, *THREE, order=["lane", "ring"], stage=1).order == ("lane", "ring", "stage")
    assert refusal(ConfigError, 12, *THREE, order=["lane"]) == (
        "order = lane (keyword) leaves out ring = 3 and stage = 2; "
        "every axis larger than 1 must be named, outermost first."
    )


def test_order_names_each_axis_once_and_axes_only() -> None:
    part = Mode("near", over=Split("ring", inner="near"))
    assert refusal(ConfigError, 12, *THREE, part, order="ring,lane,near,lanes,ring,stage") == (
        "3 problems:\n"
        "- order: 'ring' is named twice (keyword).\n"
        "- order: 'near' is a part of a split, not an axis (keyword). There are lane, ring and stage.\n"
        "- order: 'lanes' is not an axis (keyword). Did you mean 'lane'?"
    )
