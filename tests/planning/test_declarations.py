"""Declarations of all plugins together: names, references, independence, and the order of modes."""

from __future__ import annotations

from typing import Any

import pytest
from origin import EIGHT
from plans import RING, SIXTEEN, THREE, extras, plan_refusal, planned, refusal

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, PluginError, Split


@pytest.mark.parametrize("side", ["inner", "outer"])
def test_a_part_of_a_ragged_split_cannot_be_split_again(side: str) -> None:
    ragged = Split("ring", inner="near", outer="far", size=2, ragged=True)
    again = Mode("again", over=Split(getattr(ragged, side), inner="again"))
    name = "near" if side == "inner" else "far"
    assert refusal(PluginError, 12, *THREE, again) == (
        f"mode 'again' (plugin 'extra') splits '{name}', a part of a ragged split, which cannot be split again."
    )


@pytest.mark.parametrize(
    ("over", "where", "rule"),
    [
        ("ring", {"ring": 0}, "it is over 'ring', which must not touch 'ring'; at= keeps positions of each group"),
        ("near", {"ring": 0}, "it is over 'near', which must not touch 'ring'; at= keeps positions of each group"),
        (WORLD, {"ring": 0}, "it is over 'world', which must not touch 'ring'; at= keeps positions of each group"),
        ("lane", {"ring": 0, "far": 1}, "'ring' must not touch 'far'"),
    ],
)
def test_where_is_independent_of_over_and_of_itself(over: Any, where: dict[str, int], rule: str) -> None:
    far = Mode("far", over=Split("ring", outer="far", inner="near"))
    assert refusal(PluginError, 12, *THREE, far, Mode("m", over=over, where=where)) == (
        f"mode 'm' (plugin 'extra') has where={where}; {rule}."
    )


def test_where_names_what_is_declared_and_comes_after_it() -> None:
    assert refusal(PluginError, 12, *THREE, Mode("m", over="lane", where={"rin": 0})) == (
        "mode 'm' (plugin 'extra') needs 'rin', which no plugin declares. Did you mean 'ring'?"
    )
    assert plan_refusal(ConfigError, 8, Mode("m", over="data", where={"pipe": 0}), disable=["pipe", "model"]) == (
        "mode 'm' (plugin 'extra') needs 'pipe', but plugin 'pipe' is disabled (keyword).\n"
        "Switch 'pipe' on, or disable 'extra' too."
    )
    assert planned(12, *THREE, Mode("a", over="lane", where={"stage": 0})).modes == ("lane", "ring", "stage", "a")


@pytest.mark.parametrize(("over", "where"), [("thirds", {"lane": 0}), ("lane", {"thirds": 0})])
def test_where_does_not_go_with_a_ragged_split_even_if_that_divides(over: str, where: dict[str, int]) -> None:
    thirds = Mode("thirds", over=Split("ring", inner="thirds", size=3, ragged=True))
    assert refusal(PluginError, 12, *THREE, thirds, Mode("m", over=over, where=where)) == (
        f"mode 'm' (plugin 'extra') has where={where}, which does not go with a ragged split, as that of 'thirds'. "
        "List the groups with groups=."
    )


@pytest.mark.parametrize(
    ("over", "first", "second"),
    [
        ((Split("ring", inner="near"), Split("ring", inner="close")), "near", "close"),
        (("ring", Split("ring", inner="near")), "ring", "near"),
        ((Split("ring", inner="near"), "ring"), "near", "ring"),
        ((Split(("ring", "lane"), inner="near"), "lane"), "near", "lane"),
        ((Split(Split("ring", inner="near"), inner="nearer"), Split("ring", inner="near")), "nearer", "near"),
        ((WORLD, "ring"), "world", "ring"),
    ],
)
def test_what_is_not_independent_cannot_be_mixed(over: Any, first: str, second: str) -> None:
    assert refusal(PluginError, 12, *THREE, Mode("mixed", over=over)) == (
        f"mode 'mixed' (plugin 'extra') puts '{first}' and '{second}' together, which are not independent: "
        "take other axes, or parts of one chain of splits."
    )


def test_an_axis_cannot_be_named_twice() -> None:
    text = refusal(PluginError, 12, *THREE, Mode("mixed", over=("ring", "ring")))
    assert text == "mode 'mixed' (plugin 'extra') names 'ring' twice."


def test_a_split_of_what_is_not_independent_is_refused_too() -> None:
    mode = Mode("mixed", over=Split(("ring", Split("ring", inner="near").outer), inner="odd"))
    assert refusal(PluginError, 12, *THREE, mode) == (
        "mode 'mixed' (plugin 'extra') puts 'ring' and 'ring / near' together, which are not independent: "
        "take other axes, or parts of one chain of splits."
    )


def test_two_factorisations_of_one_axis_may_stand_in_two_modes() -> None:
    plan = planned(
        12, Mode("a", over=Split(Axis("ring", 12), inner="a", size=4)), Mode("b", over=Split("ring", "b")), b=3
    )
    assert (plan["a"].groups[0], plan["b"].groups[0]) == ((0, 1, 2, 3), (0, 1, 2))


def test_splits_that_are_parts_of_each_other_are_refused_with_the_cycle() -> None:
    modes = [Mode(name, over=Split(of, inner=name)) for name, of in (("a", "c"), ("b", "a"), ("c", "b"))]
    assert refusal(PluginError, 8, *modes) == "Splits nest in a cycle: 'a' of 'c' of 'b' of 'a'."


def test_modes_that_come_after_each_other_are_refused_with_the_cycle() -> None:
    modes = [Mode(name, over=(), after=after) for name, after in (("a", "b"), ("b", "c"), ("c", "a"))]
    assert refusal(PluginError, 8, *modes) == (
        "Modes come after one another in a cycle: 'a' after 'b' after 'c' after 'a'."
    )


def test_a_mode_that_comes_after_itself_is_a_cycle() -> None:
    text = refusal(PluginError, 8, Mode("a", over=(), after="a"))
    assert text == "Modes come after one another in a cycle: 'a' after 'a'."


def test_a_mode_after_one_that_refers_to_it_is_a_cycle() -> None:
    modes = Mode("user", over="ring"), Mode("owner", over=Axis("ring"), after="user")
    assert refusal(PluginError, 8, *modes) == (
        "Modes come after one another in a cycle: 'user' after 'owner' after 'user'."
    )


def test_a_reference_that_nobody_declares_is_refused_with_a_suggestion() -> None:
    assert refusal(PluginError, 12, *THREE, Mode("typo", over="rings")) == (
        "mode 'typo' (plugin 'extra') needs 'rings', which no plugin declares. Did you mean 'ring'?"
    )


def test_a_size_that_nobody_declares_is_refused_with_a_suggestion() -> None:
    assert refusal(PluginError, 12, *THREE, Mode("typo", over=Axis("typo", size="stages"))) == (
        "mode 'typo' (plugin 'extra') needs 'stages', which no plugin declares. Did you mean 'stage'?"
    )


@pytest.mark.parametrize(
    ("modes", "text"),
    [
        (
            (RING, Mode("ring", over="ring")),
            "mode 'ring' is declared twice by plugin 'extra'.\nRename it, or refer to the first by name.",
        ),
        (
            (RING, Mode("other", over=Axis("ring", 4))),
            "size 'ring' is declared twice by plugin 'extra'.\nRename it, or refer to the first by name.",
        ),
        (
            (RING, Mode("other", over=Split(WORLD, inner="ring"))),
            "size 'ring' is declared twice by plugin 'extra'.\nRename it, or refer to the first by name.",
        ),
    ],
)
def test_one_plugin_declares_each_name_once(modes: tuple[Mode, ...], text: str) -> None:
    assert refusal(PluginError, 12, *modes) == text


def test_modes_come_after_those_they_refer_to_and_else_by_name() -> None:
    plan = pgregistry.plan(16, only=EIGHT, **SIXTEEN)
    assert plan.modes == ("data", "dummy", "global", "nettest", "pipe", "tensor", "model", "zero1")
    assert plan.order == ("data", "pipe", "tensor")


def test_after_moves_a_mode_behind_those_it_names_where_they_are_there() -> None:
    modes = [Mode("a", over=(), after=("c", "absent")), Mode("b", over=()), Mode("c", over=())]
    assert extras(4, *modes).modes == ("b", "c", "a")


def test_a_mode_over_a_part_comes_after_the_owners_of_the_part_and_of_its_axis() -> None:
    owner, part = Mode("z", over=Axis("ring", 2)), Mode("y", over=Split("ring", inner="near"))
    assert extras(4, Mode("a", over="near"), part, owner).modes == ("z", "y", "a")


def test_the_order_of_names_is_that_of_code_points_in_any_locale() -> None:
    assert extras(2, *(Mode(name, over=()) for name in ("é", "b", "B", "a"))).modes == ("B", "a", "b", "é")


def test_an_extra_mode_of_a_name_that_is_taken_is_refused() -> None:
    said, advice, found = plan_refusal(PluginError, 8, Mode("tensor", over=())).split("\n")
    assert said == "mode 'tensor' is declared by plugin 'tensor', pgregistry 0.1.0 and by plugin 'extra'."
    assert "disable=['tensor']" in advice
    assert found.startswith("Found in ")
    assert "disable=['extra']" not in advice  # which would be refused: no plugin is called so


def test_equal_splits_are_one_declaration_whoever_makes_them() -> None:
    split, copies = Split("ring", inner="near", size=3), Split("ring", inner="near")
    declared = Mode("z", over=split), Mode("a", over=copies.outer), Mode("again", over=Split("ring", "near", size=3))
    plan = planned(12, *THREE, *declared)
    assert (plan["z"].groups[0], plan["a"].groups[0], plan.sizes["near"]) == ((0, 4, 8), (0,), 3)
    assert plan.modes.index("z") < plan.modes.index("a")  # the mode that gives the size is its owner
    for name in ("a_before", "z_after"):  # the declarations of zero1
        mode = Mode(name, over=Split("data", inner="zero1").outer)
        plan = pgregistry.plan(8, only=["data", "zero1"], zero1=2, extra=[mode])
        assert list(plan[name].groups) == [(0, 2, 4, 6), (1, 3, 5, 7)]
        assert plan.modes == ("data", "zero1", name)


@pytest.mark.parametrize(
    "other",
    [
        Split("ring", inner="near", outer="far", size=3),
        Split("ring", inner="near", size=3, ragged=True),
        Split("lane", inner="near"),
        Split(("ring", "lane"), inner="near"),
        Split("ring", outer="near"),
    ],
    ids=repr,
)
def test_splits_that_differ_are_not_one(other: Split) -> None:
    modes = Mode("one", over=Split("ring", inner="near", size=3)), Mode("other", over=other)
    assert (
        refusal(PluginError, 12, *THREE, *modes)
        == "size 'near' is declared twice by plugin 'extra'.\nRename it, or refer to the first by name."
    )


def test_equal_splits_of_two_sizes_are_refused_with_both() -> None:
    modes = Mode("one", over=Split("ring", inner="near", size=3)), Mode("other", over=Split("ring", "near", size=1))
    assert refusal(PluginError, 12, *THREE, *modes) == (
        "'near' is declared with size=3 by mode 'one' (plugin 'extra') and with size=1 by mode 'other' (plugin "
        "'extra').\nLeave size= out in all but one; to use what another mode declares, refer to it by name."
    )
    assert planned(12, *THREE, Mode("one", over=Split("ring", inner="near"))).sizes["near"] == 1


def test_a_split_of_axes_as_objects_or_names_in_any_order_is_one() -> None:
    by_name, by_object = Split(("ring", "lane"), inner="near"), Split((Axis("lane", 2), Axis("ring", 3)), inner="near")
    assert by_name == by_object
    assert {by_name.outer: 1}[by_object.outer] == 1
    assert Split(by_name, inner="x") == Split("near", inner="x")
    assert Split(by_name.outer, inner="x") != Split("near", inner="x")
