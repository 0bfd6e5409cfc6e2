"""The fingerprint of a plan: what it covers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plans import SIXTEEN, extras, lists

import pgregistry
from pgregistry import WORLD, Axis, Mode, Plan, Split
from pgregistry.planning.planner import Planner


def test_the_fingerprint_is_equal_for_equal_plans() -> None:
    assert pgregistry.plan(16, **SIXTEEN).fingerprint == pgregistry.plan(16, **SIXTEEN).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"tensor": 4},
        {"zero1": 4},
        {"disable": ["dummy"]},
        {"order": ["tensor", "pipe", "data"]},
        {"extra": [Mode("more", over=())]},
        {"tensor": {"size": 2, "backend": "gloo"}},
        {"tensor": {"size": 2, "timeout": 60}},
        {"tensor": {"size": 2, "cpu": True}},
        {"tensor": {"size": 2, "cpu": False}},
        {"tensor": {"size": 2, "dedicated": True}},
        {"tensor": {"size": 2, "options": {"depth": 3}}},
    ],
    ids=str,
)
def test_the_fingerprint_covers_the_world_and_of_each_mode_all_that_is_built(change: dict[str, Any]) -> None:
    assert pgregistry.plan(16, **{**SIXTEEN, **change}).fingerprint != pgregistry.plan(16, **SIXTEEN).fingerprint


def test_the_fingerprint_covers_the_world_size_where_all_groups_are_alike() -> None:
    nothing = Mode("nothing", groups=lambda mesh: [])
    assert extras(8, nothing).fingerprint != extras(9, nothing).fingerprint


def test_the_fingerprint_covers_options() -> None:
    plan = pgregistry.plan(8)
    fast = tuple(replace(mode, options={"fast": True}) for mode in plan.planned)
    assert replace(plan, planned=fast).fingerprint != plan.fingerprint


def test_the_fingerprint_does_not_cover_origins() -> None:
    typed = Planner.read(16, {}, command_line=SIXTEEN).plan()
    plan = pgregistry.plan(16, **SIXTEEN)
    assert typed.origins != plan.origins
    assert typed.fingerprint == plan.fingerprint


def test_the_fingerprint_does_not_cover_who_declares_a_mode() -> None:
    plan = pgregistry.plan(8)
    other = tuple(replace(mode, plugin=replace(mode.plugin, version="9")) for mode in plan.planned)
    assert replace(plan, planned=other).fingerprint == plan.fingerprint


def test_the_fingerprint_does_not_cover_how_the_same_groups_are_nested_or_named() -> None:
    one = extras(8, Mode("m", over=Axis("ring", 4)))
    two = extras(8, Mode("m", over=(Axis("lane", 2), Axis("stage", 2, inside="lane"))))
    assert one["m"].groups == two["m"].groups
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize(
    "said",
    [
        Mode("m", over="data", where={"pipe": 1, "tensor": 0}),
        Mode("m", over="data", where={"tensor": -2, "pipe": -1}),
        Mode("m", over="data", where={"near": 2}),
        Mode("m", over="zero1", where={"near": -2}),
    ],
    ids=str,
)
def test_the_fingerprint_does_not_cover_how_the_same_place_is_said(said: Mode) -> None:
    near = Split(("pipe", "tensor"), inner="near", size=4)
    keywords = {"tensor": 2, "pipe": 2, "extra": [Mode("near", over=near), said]}
    plan = pgregistry.plan(16, **keywords)
    assert list(plan["m"].groups) == [(2, 6, 10, 14)]
    assert alone(plan) == alone(
        pgregistry.plan(16, tensor=2, pipe=2, extra=[Mode("m", over="data", where={"pipe": 1, "tensor": 0})])
    )


def test_each_rank_alone_at_a_position_is_one_position_of_groups() -> None:
    one, other = Mode("m", over="pipe", at=-1), Mode("m", over=(), where={"pipe": 3})
    assert alone(pgregistry.plan(16, pipe=4, extra=[one])) == alone(pgregistry.plan(16, pipe=4, extra=[other]))


@pytest.mark.parametrize("at", [(0, 3), (-1, 0), (0, 9, 3), (3, 0)])
def test_the_fingerprint_does_not_cover_how_the_same_positions_are_said(at: tuple[int, ...]) -> None:
    ends = extras(8, Mode("m", over=Axis("ring", 4), at=(0, -1)))
    assert extras(8, Mode("m", over=Axis("ring", 4), at=at)).fingerprint == ends.fingerprint


def test_the_fingerprint_does_not_cover_the_order_of_positions_in_ragged_groups() -> None:
    split = Split(WORLD, inner="near", size=3, ragged=True)
    one, two = (extras(8, Mode("m", over=split, at=at)) for at in ((0, -1), (-1, 0)))
    assert one["m"].groups == two["m"].groups
    assert one.fingerprint == two.fingerprint


def test_plans_of_no_groups_have_one_fingerprint_whatever_they_would_be_over() -> None:
    nowhere = [extras(8, Mode("m", over=axis, at=9)) for axis in (Axis("ring", 4), Axis("ring", 2))]
    assert nowhere[0]["m"].groups == nowhere[1]["m"].groups == []
    assert nowhere[0].fingerprint == nowhere[1].fingerprint


NEAR = Split(WORLD, inner="near", outer="far", size=3, ragged=True)


SAME = {
    "an axis and a list": (
        lambda: extras(8, Mode("m", over=Axis("ring", 4))),
        lambda: extras(8, lists((4, 5, 6, 7), (0, 1, 2, 3))),
    ),
    "a part with gaps and a list": (
        lambda: extras(8, Mode("m", over=Split(WORLD, inner="near", outer="far", size=2).outer)),
        lambda: extras(8, lists((0, 2, 4, 6), (1, 3, 5, 7))),
    ),
    "two axes with another between them and a list": (
        lambda: extras(8, Mode("m", over=(Axis("a", 2), Axis("c", 2, inside="b"))), Mode("n", over=MIDDLE)),
        lambda: extras(8, lists((0, 1, 4, 5), (2, 3, 6, 7)), Mode("n", groups=lambda mesh: [(0, 2), (1, 3)])),
    ),
    "all ranks and a list": (lambda: extras(4, Mode("m", over=WORLD)), lambda: extras(4, lists((0, 1, 2, 3)))),
    "each rank alone and a list": (
        lambda: extras(3, Mode("m", over=())),
        lambda: extras(3, lists((0,), (1,), (2,))),
    ),
    "within all ranks and no within": (
        lambda: extras(4, Mode("m", over=Axis("ring", 2)), within=[0, 1, 2, 3]),
        lambda: extras(4, lists((0, 1), (2, 3))),
    ),
    "within in another order of whole groups": (
        lambda: extras(4, Mode("m", over=Axis("ring", 2)), within=[2, 3, 0, 1]),
        lambda: extras(4, Mode("m", over=Axis("ring", 2))),
    ),
    "within all ranks in another order and a list": (
        lambda: extras(4, Mode("m", over=Axis("ring", 2)), within=[0, 2, 1, 3]),
        lambda: extras(4, lists((0, 2), (1, 3))),
    ),
    "within that names the same ranks as a range and as a list": (
        lambda: extras(8, Mode("m", over=Axis("ring", 2)), within=range(2, 6)),
        lambda: extras(8, Mode("m", over=Axis("lane", 2)), within=[2, 3, 4, 5]),
    ),
    "a ragged end with positions out of range": (
        lambda: extras(8, Mode("m", over=NEAR, at=(0, 7, -9))),
        lambda: extras(8, Mode("m", over=NEAR, at=0)),
    ),
    "a ragged end with nothing in range and an empty list": (
        lambda: extras(8, Mode("m", over=NEAR, at=7)),
        lambda: extras(8, lists()),
    ),
    "a ragged split that divides and a regular one": (
        lambda: extras(9, Mode("m", over=NEAR)),
        lambda: extras(9, Mode("m", over=Axis("ring", 3))),
    ),
    "a ragged split above the whole and all ranks": (
        lambda: extras(2, Mode("m", over=NEAR)),
        lambda: extras(2, Mode("m", over=WORLD)),
    ),
    "lists in another order": (lambda: extras(8, lists((2, 5), (0, 3))), lambda: extras(8, lists((0, 3), (2, 5)))),
    "a ragged end and a list": (
        lambda: extras(8, Mode("m", over=NEAR)),
        lambda: extras(8, lists((0, 1, 2), (3, 4, 5), (6, 7))),
    ),
    "positions and a list": (
        lambda: extras(8, Mode("m", over=Axis("ring", 4), at=(0, -1))),
        lambda: extras(8, lists((0, 3), (4, 7))),
    ),
    "within some ranks and a list": (
        lambda: extras(8, Mode("m", over=Axis("ring", 2)), within=[2, 3, 6, 7]),
        lambda: extras(8, lists((2, 3), (6, 7))),
    ),
    "within some ranks in another order of whole groups": (
        lambda: extras(8, Mode("m", over=Axis("ring", 2)), within=[2, 3, 6, 7]),
        lambda: extras(8, Mode("m", over=Axis("ring", 2)), within=[6, 7, 2, 3]),
    ),
    "a position of two ragged ends": (
        lambda: extras(5, Mode("m", over=NEAR, at=2)),
        lambda: extras(5, Mode("m", over=Split(WORLD, inner="near", size=4, ragged=True), at=2)),
    ),
}


MIDDLE = Axis("b", 2, inside="a")


#: Pairs whose fingerprints are equal too: both are layouts, or both are lists.
SAME_FINGERPRINT = [
    "within all ranks in another order and a list",
    "within that names the same ranks as a range and as a list",
    "a ragged end with positions out of range",
    "a ragged end with nothing in range and an empty list",
    "a ragged split that divides and a regular one",
    "a ragged split above the whole and all ranks",
    "lists in another order",
]


def alone(plan: Plan) -> str:
    """The fingerprint that the plan would have with the mode m alone."""
    return replace(plan, planned=(plan["m"],)).fingerprint


@pytest.mark.parametrize("name", SAME)
def test_equal_groups_compare_equal_whatever_declares_them(name: str) -> None:
    one, two = (said() for said in SAME[name])
    assert list(one["m"].groups) == list(two["m"].groups)
    assert one["m"].groups == two["m"].groups


@pytest.mark.parametrize("name", SAME_FINGERPRINT)
def test_equal_layouts_and_equal_lists_have_equal_fingerprints(name: str) -> None:
    one, two = (said() for said in SAME[name])
    assert alone(one) == alone(two)


@st.composite
def said(draw: st.DrawFn) -> Plan:
    """One mode over 8 ranks, said in one of many ways."""
    ways = ["axes", "split", "list", "cut list", "within"]
    way = draw(st.sampled_from(ways))
    at = draw(st.none() | st.lists(st.integers(-9, 9), min_size=1, max_size=3).map(tuple))
    if way == "axes":
        factors = draw(st.sampled_from([(8,), (2, 4), (4, 2), (2, 2, 2)]))
        axes = [
            Axis(f"x{number}", size, inside=[f"x{outer}" for outer in range(number)])
            for number, size in enumerate(factors)
        ]
        over = draw(st.lists(st.sampled_from(axes), unique=True))
        rest = [Mode(f"mode of {axis.name}", over=axis) for axis in axes if axis not in over]
        where = {axis.name: draw(st.integers(-2, 1)) for axis in axes if axis not in over and draw(st.booleans())}
        plan = extras(8, Mode("m", over=over, at=at, where=where), *rest)
        return replace(plan, planned=tuple(mode for mode in plan.planned if mode.name == "m"))
    if way == "split":
        split = Split(WORLD, inner="near", outer="far", size=draw(st.integers(1, 9)), ragged=True)
        return extras(8, Mode("m", over=draw(st.sampled_from([split.inner, split.outer])), at=at))
    if way == "within":
        ranks = draw(st.permutations(range(8)))[: draw(st.sampled_from([2, 4, 6, 8]))]
        ring = Axis("ring", draw(st.sampled_from([1, 2])))
        within = sorted(ranks) if draw(st.booleans()) else ranks
        return extras(8, Mode("m", over=draw(st.sampled_from([ring, WORLD])), at=at), within=within)
    if way == "cut list":
        size = draw(st.integers(1, 8))
        return extras(8, lists(*(tuple(range(8))[start : start + size] for start in range(0, 8, size))))
    order, groups = draw(st.permutations(range(8))), draw(st.lists(st.integers(0, 3), min_size=8, max_size=8))
    members = [tuple(sorted(rank for rank, group in zip(order, groups, strict=True) if group == n)) for n in range(4)]
    return extras(8, lists(*filter(None, members[: draw(st.integers(1, 4))])))


EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@EXAMPLES
@given(said(), said())
def test_equal_fingerprints_are_of_equal_groups(one: Plan, two: Plan) -> None:
    check_groups_of_equal_fingerprints(one, two)


@pytest.mark.slow
@settings(EXAMPLES, max_examples=600)
@given(said(), said())
def test_equal_fingerprints_of_many_more_plans_are_of_equal_groups(one: Plan, two: Plan) -> None:
    check_groups_of_equal_fingerprints(one, two)


def check_groups_of_equal_fingerprints(one: Plan, two: Plan) -> None:
    if one.fingerprint == two.fingerprint:
        assert list(one["m"].groups) == list(two["m"].groups)
