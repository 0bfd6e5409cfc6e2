"""The mesh: cuts of splits, coordinates, groups over axes, and what a groups= function may return."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import RING, THREE, extras, listing, plan_refusal, planned, refusal
from random_worlds import EXAMPLES, worlds

import pgregistry
from pgregistry import FULL, REST, WORLD, Axis, ConfigError, Mode, PluginError, Split


@EXAMPLES
@given(st.booleans().flatmap(lambda ragged: worlds(ragged=ragged)))
def test_a_mesh_knows_sizes_and_coordinates_and_groups_as_the_plan_does(world: dict[str, Any]) -> None:
    seen: list[Any] = []

    def look(mesh: Any) -> list[tuple[int, ...]]:
        seen.append(mesh)
        return []

    plan = planned(world["world_size"], *world["modes"], Mode("look", groups=look), **world["keywords"])
    mesh = seen[0]
    assert mesh.world_size == world["world_size"]
    positions = {name: along for name, along in world["positions"].items() if name in mesh.sizes}
    for name, along in positions.items():
        assert {rank: mesh.coordinate(name, rank) for rank in range(mesh.world_size)} == along, name
    assert plan.sizes == {name: world["sizes"][name] for name in plan.sizes}
    assert list(mesh.groups(world["over"])) == world["groups"]
    assert mesh.groups(WORLD) == [tuple(range(world["world_size"]))]


def test_a_part_of_the_example_in_the_docs_is_cut_so_that_inner_positions_are_adjacent() -> None:
    split = Split(Axis("ring", 4), inner="near", size=2)
    plan = planned(4, Mode("near", over=split.inner), Mode("far", over=split.outer))
    assert list(plan["near"].groups) == [(0, 1), (2, 3)]
    assert list(plan["far"].groups) == [(0, 2), (1, 3)]


def test_both_parts_can_be_set_to_what_makes_up_the_whole() -> None:
    plan = planned(8, Mode("near", over=Split(WORLD, inner="near", outer="far")), near=2, far=4)
    assert plan["near"].groups[0] == (0, 1)


def test_both_parts_set_to_what_does_not_make_up_the_whole_are_refused() -> None:
    mode = Mode("near", over=Split(Axis("ring", REST), inner="near", outer="far"))
    assert refusal(ConfigError, 8, mode, near=2, far=2) == (
        "far × near = 2 × 2 = 4 is not ring = 8 (what is left).\n  far = 2 (keyword)\n  near = 2 (keyword)"
    )


def test_an_outer_part_that_does_not_divide_is_refused_with_the_sizes_that_do() -> None:
    mode = Mode("near", over=Split(Axis("ring", REST), inner="near", outer="far"))
    assert refusal(ConfigError, 8, mode, far=3) == (
        "far = 3 (keyword) does not divide ring = 8 (what is left).\n  far could be 1, 2, 4 or 8."
    )


def test_an_outer_part_that_does_not_divide_axes_with_a_gap_is_refused_with_the_sizes_that_fit() -> None:
    mode = Mode("far", over=Split(("ring", "stage"), outer="far"))
    assert refusal(ConfigError, 12, *THREE, mode, far=4) == (
        "far = 4 (keyword) does not divide ring × stage = 6 (plugin default).\n  far could be 1, 3 or 6."
    )


def test_axes_with_a_gap_between_them_are_cut_at_their_boundaries() -> None:
    split = Split(("stage", "ring"), inner="near", outer="far", size=2)
    plan = planned(12, *THREE, Mode("near", over=split), Mode("far", over=split.outer))
    assert (plan["near"].group_of(0), plan["far"].group_of(0)) == ((0, 1), (0, 4, 8))


def test_a_cut_that_fits_no_boundary_is_refused_with_the_sizes_that_fit() -> None:
    mode = Mode("near", over=Split(("ring", "stage"), inner="near", size=3))
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "near = 3 (plugin default) cuts ring × stage = 6 (plugin default) where none of its axes can be cut.\n"
        "  near could be 1, 2 or 6."
    )


def test_an_outer_cut_that_fits_no_boundary_is_refused_with_the_sizes_that_fit() -> None:
    mode = Mode("far", over=Split(("ring", "stage"), outer="far", size=2))
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "far = 2 (plugin default) cuts ring × stage = 6 (plugin default) where none of its axes can be cut.\n"
        "  far could be 1, 3 or 6."
    )


def test_adjacent_axes_merge_before_the_cut() -> None:
    plan = planned(12, *THREE, Mode("near", over=Split(("ring", "lane"), inner="near", size=3)))
    assert plan["near"].group_of(0) == (0, 2, 4)


@pytest.mark.parametrize("name", ["near", "far"])
def test_the_sizes_that_an_error_names_are_those_that_are_accepted(name: str) -> None:
    mode = Mode("near", over=Split(("ring", "stage"), inner="near", outer="far"))
    accepted, hints = [], set()
    for size in range(1, 8):
        try:
            planned(12, *THREE, mode, **{name: size})
        except ConfigError as error:
            hints.add(str(error).splitlines()[-1])
        else:
            accepted.append(str(size))
    assert hints == {f"  {name} could be {', '.join(accepted[:-1])} or {accepted[-1]}."}


def test_a_ragged_split_takes_a_size_above_the_whole_as_one_group() -> None:
    plan = planned(6, Mode("near", over=Split(WORLD, inner="near", size=32, ragged=True)))
    assert list(plan["near"].groups) == [(0, 1, 2, 3, 4, 5)]


def test_the_outer_size_of_a_ragged_split_that_no_inner_size_makes_is_refused_with_those_that_do() -> None:
    mode = Mode("far", over=Split(WORLD, outer="far", size=4, ragged=True).outer)
    fitting = [far for far in range(1, 6) if any(-(-5 // near) == far for near in range(1, 6))]
    assert fitting == [1, 2, 3, 5]
    assert refusal(ConfigError, 5, mode).endswith("\n  far could be 1, 2, 3 or 5.")


def test_a_ragged_cut_of_axes_with_a_gap_is_refused() -> None:
    mode = Mode("near", over=Split(("ring", "stage"), inner="near", size=4, ragged=True))
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "near = 4 (plugin default) does not divide ring × stage = 6 (plugin default).\n  near could be 1, 2 or 6."
    )


def test_a_mode_over_two_ragged_splits_is_refused() -> None:
    first = Split(Axis("ring", 3), inner="near", size=2, ragged=True)
    second = Split(Axis("lane", 5, inside="ring"), inner="close", size=2, ragged=True)
    assert refusal(PluginError, 15, Mode("both", over=(first, second))) == (
        "mode 'both' is over two ragged splits, which have no closed form; use groups=."
    )


def test_a_coordinate_is_asked_of_a_rank_and_a_name_that_exist() -> None:
    def outside(mesh: Any) -> list[list[int]]:
        return [[mesh.coordinate("ring", 12)]]

    def typo(mesh: Any) -> list[list[int]]:
        return [[mesh.coordinate("rings", 0)]]

    assert refusal(ConfigError, 12, *THREE, Mode("odd", groups=outside)) == (
        "rank 12 is out of range; the plan has ranks 0 to 11."
    )
    assert refusal(PluginError, 12, *THREE, Mode("odd", groups=typo)) == (
        "mode 'odd' (plugin 'extra'): its groups function raised PluginError: "
        "no mode declares 'rings'. Did you mean 'ring'?"
    )


def test_a_mode_that_lists_its_groups_has_sizes_of_its_own() -> None:
    def wrapped(mesh: Any) -> list[list[int]]:
        """Runs that begin one rank late, so the last goes on at rank 0."""
        run, ranks = mesh.sizes["run"], [*range(1, mesh.world_size), 0]
        return [sorted(ranks[start : start + run]) for start in range(0, len(ranks), run)]

    late = Mode("late", groups=wrapped, sizes=Split(WORLD, inner="run", size=2))
    assert list(planned(6, late)["late"].groups) == [(0, 5), (1, 2), (3, 4)]
    assert list(planned(6, late, run=3)["late"].groups) == [(0, 4, 5), (1, 2, 3)]
    assert planned(6, late, run=3).sizes == {"run": 3}
    assert refusal(ConfigError, 6, late, run=4) == (
        "run = 4 (keyword) does not divide world = 6.\n  run could be 1, 2, 3 or 6."
    )
    after = planned(6, Mode("early", groups=lambda mesh: [], sizes="run"), late)
    assert after.modes == ("late", "early")
    assert after["early"].over == ()


def asking(over: Any) -> Mode:
    """A mode with the groups that its mesh has over something."""
    return Mode("asked", groups=lambda mesh: mesh.groups(over))


def test_a_mesh_has_groups_over_all_that_is_declared_said_by_name_or_as_an_object() -> None:
    split = Split("ring", inner="near", outer="far", size=3)
    modes = (*THREE, Mode("near", over=split))
    for over in ("ring", "far", split, split.outer, ("far", "near"), ("stage", split), WORLD, (), Axis("ring", 3)):
        expected = planned(12, *modes, Mode("m", over=over) if over != Axis("ring", 3) else Mode("m", over="ring"))
        assert planned(12, *modes, asking(over))["asked"].groups == expected["m"].groups, over


NEAR = Split("ring", inner="near", outer="far")


UNDECLARED = [
    ("rings", "no mode declares 'rings'. Did you mean 'ring'?"),
    (("ring", "x"), "no mode declares 'x'. There are far, lane, near, ring and stage."),
    (Axis("bank", 2), "no mode declares 'bank'. There are far, lane, near, ring and stage."),
    (Split("ring", inner="close"), "no mode declares 'close'. There are far, lane, near, ring and stage."),
    (Split("ring", outer="close"), "no mode declares 'ring / close'. There are far, lane, near, ring and stage."),
    (Split("ring", inner="close").outer, "no mode declares 'ring / close'. There are far, lane, near, ring and stage."),
    (Split("rings", inner="close"), "no mode declares 'close'. There are far, lane, near, ring and stage."),
    (Split(NEAR, inner="nearer"), "no mode declares 'nearer'. Did you mean 'near'?"),
    (Split(Axis("bank", 2), inner="near"), "no mode declares 'bank'. There are far, lane, near, ring and stage."),
    (("ring", "ring"), "'ring' and 'ring' are not independent, so no groups are over both."),
    ((WORLD, "ring"), "'world' and 'ring' are not independent, so no groups are over both."),
    (("lane", "near", "ring"), "'near' and 'ring' are not independent, so no groups are over both."),
    (("ring", NEAR.outer), "'ring' and 'far' are not independent, so no groups are over both."),
    (FULL, "Mode('groups'): FULL must be an axis, a part of a split or WORLD."),
    (7, "Mode('groups'): 7 must be an axis, a part of a split or WORLD."),
]


@pytest.mark.parametrize(("over", "text"), UNDECLARED, ids=[f"{over!r}" for over, _ in UNDECLARED])
def test_a_mesh_refuses_what_nobody_declares_and_what_is_not_independent(over: Any, text: str) -> None:
    assert refusal(PluginError, 12, *THREE, Mode("near", over=NEAR), asking(over)) == (
        f"mode 'asked' (plugin 'extra'): its groups function raised PluginError: {text}"
    )


FOREIGN = [
    (Axis("ring", 4), RING.over[0], "ring"),
    (Split("lane", inner="ring"), RING.over[0], "ring"),
    (Split("lane", inner="near", outer="far"), NEAR.inner, "near"),
    (Split(NEAR, inner="near", outer="far"), NEAR.inner, "near"),
    (Split(("ring", "stage"), inner="near"), NEAR.inner, "near"),
    (Split(("ring", "ring"), inner="near"), NEAR.inner, "near"),
]


@pytest.mark.parametrize(("over", "declared", "name"), FOREIGN, ids=[f"{over!r}" for over, _, _ in FOREIGN])
def test_a_mesh_refuses_another_axis_or_split_of_a_declared_name(over: Any, declared: Any, name: str) -> None:
    part = over.inner if isinstance(over, Split) else over
    assert refusal(PluginError, 12, *THREE, Mode("near", over=NEAR), asking(over)) == (
        "mode 'asked' (plugin 'extra'): its groups function raised PluginError: "
        f"{part!r} is not {declared!r}, which a mode declares as '{name}'; use the name '{name}' to refer to it."
    )


@pytest.mark.parametrize("over", [Axis("ring", 4), Split("lane", inner="near")], ids=repr)
def test_a_coordinate_along_another_axis_of_a_declared_name_is_refused_too(over: Any) -> None:
    part = over.inner if isinstance(over, Split) else over
    mode = Mode("asked", groups=lambda mesh: [[mesh.coordinate(part, 0)]])
    text = refusal(PluginError, 12, *THREE, Mode("near", over=NEAR), mode)
    assert f"{part!r} is not " in text


def test_a_coordinate_of_a_rank_that_cannot_be_printed_is_refused() -> None:
    mode = Mode("asked", groups=lambda mesh: [[mesh.coordinate("ring", 10**5000)]])
    assert refusal(ConfigError, 12, *THREE, mode) == (
        "rank a number of thousands of digits is out of range; the plan has ranks 0 to 11."
    )


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda mesh: [(0, 1), (1, 2)], " puts rank 1 into two groups, (0, 1) and (1, 2)."),
        (lambda mesh: [(0, 4)], " has group (0, 4), but the ranks must be from 0 to 3."),
        (lambda mesh: [(-1,)], " has group (-1,), but the ranks must be from 0 to 3."),
        (lambda mesh: [(0,), ()], " has an empty group; leave it out."),
        (lambda mesh: [(0, 0)], " has group (0, 0), which must have each rank once."),
        (lambda mesh: [(0, "a")], " has group (0, 'a') with 'a', which is not a rank."),
        (lambda mesh: [(0, True)], " has group (0, True) with True, which is not a rank."),
        (lambda mesh: [(0.0,)], " has group (0.0,) with 0.0, which is not a rank."),
        (
            lambda mesh: [(0, 10**5000)],
            " has group a number of thousands of digits, but the ranks must be from 0 to 3.",
        ),
        (lambda mesh: 1 // 0, ": its groups function raised ZeroDivisionError: integer division or modulo by zero"),
        (lambda mesh: [3], ": its groups function raised TypeError: 'int' object is not iterable"),
        (lambda mesh: None, ": its groups function raised TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_a_groups_function_is_checked_in_full(function: Any, text: str) -> None:
    assert plan_refusal(PluginError, 4, Mode("odd", groups=function), only=[]) == f"mode 'odd' (plugin 'extra'){text}"


def test_a_groups_function_is_called_once_for_a_plan() -> None:
    calls: list[int] = []

    def pair(mesh: Any) -> list[tuple[int, int]]:
        calls.append(mesh.world_size)
        return [(0, 1)]

    extras(4, Mode("pair", groups=pair))
    assert calls == [4]


def test_a_groups_function_may_leave_ranks_out_and_its_groups_are_sorted() -> None:
    plan = extras(8, Mode("odd", groups=listing))
    assert list(plan["odd"].groups) == [(0, 5), (2, 3)]
    assert plan["odd"].group_of(1) is None
    assert plan["odd"].groups.sizes() == {2: 2}
    assert plan["odd"].over == ()


def test_the_groups_of_a_function_keep_their_order() -> None:
    plan = extras(8, Mode("ring", groups=lambda mesh: [(7, 4, 6, 5), (3, 2, 1, 0)]))
    assert list(plan["ring"].groups) == [(3, 2, 1, 0), (7, 4, 6, 5)]
    assert (plan["ring"].group_of(6), plan["ring"].groups.index_of(6)) == ((7, 4, 6, 5), 1)
    assert plan.fingerprint != extras(8, Mode("ring", groups=lambda mesh: [range(4), range(4, 8)])).fingerprint


def test_a_groups_function_may_return_no_groups() -> None:
    assert list(extras(8, Mode("odd", groups=lambda mesh: []))["odd"].groups) == []


def test_a_groups_function_is_given_sizes_and_the_ranks_of_a_host() -> None:
    def hosts(mesh: Any) -> Any:
        return mesh.groups("tensor") if mesh.sizes["tensor"] == mesh.ranks_per_host else []

    plan = pgregistry.plan(8, tensor=4, ranks_per_host=4, extra=[Mode("hosts", groups=hosts)])
    assert plan["hosts"].groups == plan["tensor"].groups
