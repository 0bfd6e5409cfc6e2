"""A plan is data: the same everywhere, with a fingerprint, as JSON and back, and comparable."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from origin import EIGHT

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, PgregistryError, Plan, PluginError, Split
from pgregistry.layouts.groups import Groups
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans.document import of_plan
from pgregistry.registry.discovery import discover

SIXTEEN = {"tensor": 2, "pipe": 2, "zero1": 2, "nettest": 3}


def extras(world_size: int, *modes: Mode, **keywords: Any) -> Plan:
    """A plan of these modes alone."""
    return pgregistry.plan(world_size, only=[], extra=modes, **keywords)


def refusal(kind: type[PgregistryError], world_size: Any, *modes: Mode, **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        pgregistry.plan(world_size, extra=modes, **keywords)
    return str(caught.value)


# --- order ----------------------------------------------------------------------------------------


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


def test_discovery_order_changes_nothing() -> None:
    found = list(discover())
    expected = Planner.read(16, SIXTEEN, installed=tuple(found)).plan()
    for seed in range(10):
        random.Random(seed).shuffle(found)
        plan = Planner.read(16, SIXTEEN, installed=tuple(found)).plan()
        assert (plan.modes, plan.order, plan.fingerprint) == (expected.modes, expected.order, expected.fingerprint)
        assert plan.to_json() == expected.to_json()


def test_the_order_in_which_modes_are_yielded_changes_nothing() -> None:
    modes = [
        Mode("near", over=Split("ring", inner="near", size=2)),
        Mode("ring", over=Axis("ring", 4)),
        Mode("both", over=("lane", "ring")),
        Mode("lane", over=Axis("lane", 2, inside="ring")),
        Mode("all", over=WORLD),
    ]
    texts = set()
    for seed in range(10):
        random.Random(seed).shuffle(modes)
        texts.add(extras(8, *modes).to_json())
    assert len(texts) == 1


PRINT_PLAN = """
import sys
import pgregistry
from pgregistry import Axis, Mode, PgregistryError
print(pgregistry.plan(16, tensor=2, pipe=2, zero1=2, nettest=3).to_json())
cycles = {"a": ("p", "q", "r"), "p": ("p2",), "p2": ("p",), "q": ("q2",), "q2": ("q",), "r": ("r2",), "r2": ("r",)}
axes = [Mode(name, over=Axis(name, inside=around)) for name, around in cycles.items()]
later = [Mode(name, over=(), after=after) for name, after in cycles.items()]
for modes in (axes, later):
    try:
        pgregistry.plan(4, only=[], extra=modes)
    except PgregistryError as error:
        print(error)
print("torch" in sys.modules)
"""


def test_the_hash_seed_changes_neither_a_plan_nor_an_error_and_planning_imports_no_torch() -> None:
    said = []
    for seed in ("0", "1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", PRINT_PLAN],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout)
    lines = said[0].splitlines()
    assert Plan.from_json(lines[0]) == pgregistry.plan(16, **SIXTEEN)
    assert lines[1].startswith("Axes nest in a cycle: ")
    assert lines[2].startswith("Modes come after one another in a cycle: ")
    assert lines[-1] == "False"
    assert set(said) == {said[0]}


# --- fingerprint ----------------------------------------------------------------------------------


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


def lists(*groups: tuple[int, ...]) -> Mode:
    """The mode m with these groups, listed."""
    return Mode("m", groups=lambda mesh: groups)


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
        plan = extras(8, Mode("m", over=over, at=at), *rest)
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


EXAMPLES = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@EXAMPLES
@given(said(), said())
def test_equal_fingerprints_are_of_equal_groups(one: Plan, two: Plan) -> None:
    if one.fingerprint == two.fingerprint:
        assert list(one["m"].groups) == list(two["m"].groups)


def test_a_mode_of_a_plan_is_hashable() -> None:
    plan, again = pgregistry.plan(8, tensor=2), pgregistry.plan(8, tensor=2)
    assert hash(plan["tensor"]) == hash(again["tensor"])
    assert {*plan.planned, *again.planned} == set(plan.planned)
    listed = extras(8, lists((0, 1)))
    assert hash(listed["m"]) == hash(Plan.from_json(listed.to_json())["m"])


def test_plans_are_hashable_by_what_they_build() -> None:
    plan = pgregistry.plan(8, tensor=2)
    assert hash(plan) == hash(pgregistry.plan(8, tensor=2)) == hash(Plan.from_json(plan.to_json()))
    assert {plan, pgregistry.plan(8, tensor=2), pgregistry.plan(8)} == {pgregistry.plan(8), plan}


# --- JSON -----------------------------------------------------------------------------------------


def listing(mesh: Any) -> list[list[int]]:
    return [[2, 3], [0, 5]]


RAGGED = Split(WORLD, inner="near", outer="far", size=3, ragged=True)
PLANS = {
    "bundled": lambda: pgregistry.plan(16, **SIXTEEN),
    "within, ascending": lambda: pgregistry.plan(16, within=range(4, 12), tensor=2),
    "within, permuted": lambda: pgregistry.plan(16, within=[5, 1, 9, 3], tensor=2, nettest=3),
    "at": lambda: extras(8, Mode("ends", over=Axis("ring", 4), at=(0, -1))),
    "at nothing": lambda: extras(8, Mode("ends", over=Axis("ring", 4), at=9)),
    "ragged": lambda: extras(8, Mode("near", over=RAGGED), Mode("far", over="far")),
    "ragged at": lambda: extras(8, Mode("near", over=RAGGED, at=(1, -1)), Mode("far", over="far", at=-1)),
    "ragged within": lambda: extras(9, Mode("far", over=RAGGED.outer, at=-1), within=range(1, 9)),
    "ragged and regular": lambda: extras(
        10,
        Mode("ring", over=Axis("ring", 2)),
        Mode("m", over=("ring", Split(Axis("lane", 5, "ring"), "n", size=2, ragged=True))),
    ),
    "listed": lambda: extras(8, Mode("odd", groups=listing)),
    "listed within": lambda: extras(8, Mode("odd", groups=listing), within=[7, 6, 5, 4, 3, 2]),
    "settings": lambda: pgregistry.plan(
        8, zero1={"dedicated": True, "cpu": False}, tensor={"size": 2, "backend": "gloo", "timeout": 1.5, "cpu": True}
    ),
    "above the listing limit": lambda: extras(4097, Mode("odd", groups=listing), Mode("all", over=WORLD)),
    "a million ranks": lambda: pgregistry.plan(1 << 20, tensor=8, pipe=16),
}


@pytest.mark.parametrize("name", PLANS)
def test_json_and_back_is_an_equal_plan(name: str) -> None:
    plan = PLANS[name]()
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.fingerprint == plan.fingerprint
    assert again.to_json() == plan.to_json()
    assert plan.diff(again) == ()


def test_the_document_has_its_keys_in_this_order() -> None:
    document = json.loads(pgregistry.plan(16, tensor=2, pipe=2, only=EIGHT).to_json())
    assert list(document) == ["schema", "world_size", "order", "sizes", "fingerprint", "modes"]
    assert list(document["sizes"]) == ["data", "nettest", "pipe", "tensor", "zero1"]
    assert document["sizes"]["data"] == {"size": 4, "from": "what is left"}
    assert list(document["sizes"]["data"]) == ["size", "from"]
    assert (document["schema"], document["world_size"], document["order"]) == (1, 16, ["data", "pipe", "tensor"])
    entry = document["modes"][0]
    assert json.dumps(entry) == json.dumps(
        {
            "name": "data",
            "plugin": "data",
            "distribution": "pgregistry",
            "version": "0.1.0",
            "over": ["data"],
            "layout": [[4, 4]],
            "at": None,
            "ragged": False,
            "group_count": 4,
            "group_sizes": {"4": 4},
            "groups": [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]],
        }
    )


def test_the_document_says_within_and_what_a_mode_says_only_where_they_are_said() -> None:
    document = of_plan(pgregistry.plan(8, within=[0, 1], tensor={"size": 2, "backend": "gloo", "cpu": False}))
    assert document["within"] == [0, 1]
    (tensor,) = [mode for mode in document["modes"] if mode["name"] == "tensor"]
    assert list(tensor)[-3:] == ["groups", "backend", "cpu"]


def test_a_listed_mode_has_no_layout_and_a_ragged_one_its_full_size() -> None:
    odd, near = of_plan(extras(8, Mode("odd", groups=listing), Mode("near", over=RAGGED)))["modes"][::-1]
    assert (odd["layout"], odd["groups"]) == (None, [[0, 5], [2, 3]])
    assert (near["layout"], near["ragged"], near["group_sizes"]) == ([[3, 1]], True, {"3": 2, "2": 1})


def test_groups_are_left_out_above_4096_ranks_unless_their_mode_is_named() -> None:
    assert all("groups" in mode for mode in of_plan(pgregistry.plan(4096))["modes"])
    plan = pgregistry.plan(4098, tensor=2)
    assert not any("groups" in mode for mode in of_plan(plan)["modes"])
    (tensor,) = of_plan(plan, mode="tensor", groups="all")["modes"]
    assert tensor["groups"][-1] == [4096, 4097]


def test_for_a_rank_each_mode_has_the_group_of_this_rank_instead() -> None:
    ends = Mode("ends", over="pipe", at=(0, -1))
    modes = {
        mode["name"]: mode for mode in of_plan(pgregistry.plan(12, pipe=3, tensor=2, extra=[ends]), rank=9)["modes"]
    }
    tensor = modes["tensor"]
    assert list(tensor)[-3:] == ["group", "rank_in_group", "group_index"]
    assert (tensor["group"], tensor["rank_in_group"], tensor["group_index"]) == ([8, 9], 1, 4)
    assert list(modes["ends"])[-1] == "group"
    assert modes["ends"]["group"] is None


def test_text_is_not_a_plan() -> None:
    for text in ("", "[]", "{}", "3", '"plan"', "null", '{"schema": 1}'):
        with pytest.raises(ConfigError, match=r"^This is not the JSON of a plan: "):
            Plan.from_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "RecursionError: "),
        ('{"a":' * 100_000, "RecursionError: "),
        # Python 3.10 and 3.11 word the rest differently.
        ('{"schema": ' + "9" * 5000 + "}", "ValueError: Exceeds the limit (4300"),
    ],
    ids=["lists", "tables", "digits"],
)
def test_text_that_python_will_not_read_is_not_a_plan(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(text)
    assert str(caught.value).startswith(f"This is not the JSON of a plan: {reason}")


@pytest.mark.parametrize("world_size", [-8, 0, 1 << 39, 10**30, 4.0, "4", None])
def test_a_world_size_that_was_changed_is_refused_without_a_traceback(world_size: Any) -> None:
    document = {**json.loads(pgregistry.plan(4).to_json()), "world_size": world_size}
    with pytest.raises(ConfigError):
        Plan.from_json(json.dumps(document))


def test_a_plan_of_another_schema_is_refused() -> None:
    document = json.loads(pgregistry.plan(4).to_json())
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(json.dumps({**document, "schema": 2}))
    assert str(caught.value) == "This plan has schema 2; this version reads schema 1."


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layout", [[2, 1]]),
        ("layout", [[4, 2]]),
        ("at", [0]),
        ("name", "other"),
        ("backend", "nccl"),
        ("timeout", 3.0),
        ("dedicated", True),
        ("options", {"fast": True}),
        ("cpu", True),
    ],
)
def test_a_plan_that_was_changed_is_refused(key: str, value: Any) -> None:
    plan = extras(8, Mode("ring", over=Axis("ring", 4)))
    document = json.loads(plan.to_json())
    document["modes"][0][key] = value
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(json.dumps(document))
    text = str(caught.value)
    assert text.startswith(
        f"This plan was changed after it was written: it has fingerprint {plan.fingerprint}, but its "
    )
    assert text.endswith(". A document with --mode or --rank is not a whole plan.")


@pytest.mark.parametrize("layout", [[[2, 0]], [[0, 1]], [[4]], [4], [["4", 1]], "4", 4, {}], ids=str)
def test_a_layout_that_cannot_be_is_refused_without_a_traceback(layout: Any) -> None:
    document = json.loads(extras(8, Mode("ring", over=Axis("ring", 4))).to_json())
    document["modes"][0]["layout"] = layout
    with pytest.raises(ConfigError):
        Plan.from_json(json.dumps(document))


@pytest.mark.parametrize("run", [{"size": 0}, {"size": 3, "stride": 0}, {"side": "up"}, {"other": 1}, {"size": "3"}])
def test_a_ragged_plan_that_was_changed_is_refused_without_a_traceback(run: dict[str, Any]) -> None:
    document = json.loads(extras(8, Mode("far", over=RAGGED.outer)).to_json())
    document["modes"][0]["ragged_run"].update(run)
    with pytest.raises(ConfigError):
        Plan.from_json(json.dumps(document))


def test_groups_that_were_changed_beside_their_layout_are_refused() -> None:
    document = json.loads(extras(4, Mode("ring", over=Axis("ring", 2))).to_json())
    document["modes"][0]["groups"] = [[0, 2], [1, 3]]
    with pytest.raises(ConfigError):
        Plan.from_json(json.dumps(document))


# --- diff -----------------------------------------------------------------------------------------


def test_the_diff_of_equal_plans_is_empty() -> None:
    assert pgregistry.plan(8).diff(pgregistry.plan(8)) == ()


DIFFERENCES = [
    (
        lambda: (extras(4, Mode("all", over=WORLD)), extras(6, Mode("all", over=WORLD))),
        (
            "world size: 4 here, 6 there",
            "group 0 of mode all: (0, 1, 2, 3) here, (0, 1, 2, 3, 4, 5) there",
        ),
    ),
    (
        lambda: (extras(4, Mode("a", over=())), extras(4, Mode("b", over=()))),
        ("mode a: plugin 'extra' here, none there", "mode b: none here, plugin 'extra' there"),
    ),
    (
        lambda: (pgregistry.plan(4), pgregistry.plan(4, disable=["dummy"])),
        ("mode dummy: plugin 'dummy', pgregistry 0.1.0 here, none there",),
    ),
    (
        lambda: [
            extras(8, Mode("r", over=Axis("r", 2)), Mode("s", over=Axis("s", 2)), order=order)
            for order in ("r,s", "s,r")
        ],
        (
            "order: r, s here, s, r there",
            "group 0 of mode r: (0, 2) here, (0, 1) there",
            "group 0 of mode s: (0, 1) here, (0, 2) there",
        ),
    ),
    (
        lambda: (extras(4, Mode("a", over=()), within=[0, 1]), extras(4, Mode("a", over=()))),
        ("within: ranks (0, 1) here, all ranks there", "group 2 of mode a: missing here, (2,) there"),
    ),
    (
        lambda: (
            extras(4, Mode("a", over=(), backend="gloo", timeout=3, cpu=True, dedicated=True)),
            extras(4, Mode("a", over=())),
        ),
        (
            "dedicated of mode a: True here, False there",
            "backend of mode a: gloo here, None there",
            "timeout of mode a: 3.0 here, None there",
            "cpu of mode a: True here, None there",
        ),
    ),
    (
        lambda: (
            extras(4, Mode("a", over=(), after="b"), Mode("b", over=())),
            extras(4, Mode("a", over=()), Mode("b", over=())),
        ),
        ("execution order: b, a here, a, b there",),
    ),
    (
        lambda: (extras(16, Mode("a", over=WORLD)), extras(16, Mode("a", over=(Axis("r", 16)), at=tuple(range(9))))),
        (
            "size r: none here, 16 (plugin default) there",
            "group 0 of mode a: (0, 1, 2, 3, 4, 5, … 16 ranks) here, (0, 1, 2, 3, 4, 5, … 9 ranks) there",
        ),
    ),
]


@pytest.mark.parametrize(("plans", "sentences"), DIFFERENCES, ids=[sentences[0] for _, sentences in DIFFERENCES])
def test_a_difference_is_said_in_a_sentence(plans: Any, sentences: tuple[str, ...]) -> None:
    here, there = plans()
    assert here.diff(there) == sentences


# --- within ---------------------------------------------------------------------------------------


def test_within_puts_the_plan_on_these_ranks_only() -> None:
    plan = pgregistry.plan(16, within=range(4, 12), tensor=2, pipe=2, nettest=3)
    whole = pgregistry.plan(8, tensor=2, pipe=2, nettest=3)
    for name in whole:
        assert list(plan[name].groups) == [tuple(rank + 4 for rank in group) for group in whole[name].groups]
        assert [plan[name].groups.index_of(rank + 4) for rank in range(8)] == [
            whole[name].groups.index_of(rank) for rank in range(8)
        ]
        assert plan[name].group_of(3) is plan[name].group_of(12) is None
        assert plan[name].groups.sizes() == whole[name].groups.sizes()
    assert (plan.world_size, plan.ranks) == (16, (4, 5, 6, 7, 8, 9, 10, 11))


def test_within_in_another_order_places_ranks_and_keeps_groups_ascending() -> None:
    plan = pgregistry.plan(8, within=[6, 0, 4, 2], tensor=2)
    assert list(plan["tensor"].groups) == [(0, 6), (2, 4)]
    assert list(plan["data"].groups) == [(0, 2), (4, 6)]
    assert (plan["tensor"].group_of(4), plan["tensor"].groups.index_of(4)) == ((2, 4), 1)


def test_within_gives_a_groups_function_positions() -> None:
    seen = []

    def ends(mesh: Any) -> list[list[int]]:
        seen.append(mesh.world_size)
        return [[0, mesh.world_size - 1]]

    assert list(extras(8, Mode("ends", groups=ends), within=[5, 3, 1])["ends"].groups) == [(1, 5)]
    assert seen == [3]


def test_within_all_ranks_in_order_is_no_within() -> None:
    assert pgregistry.plan(8, within=range(8)) == pgregistry.plan(8)


@pytest.mark.parametrize("within", [[], [0, 0], [8], [-1], ["a"], [True], [1.0], 5], ids=str)
def test_within_is_a_list_of_different_ranks(within: Any) -> None:
    assert refusal(ConfigError, 8, within=within) == f"within = {within} (keyword) must be different ranks from 0 to 7."


# --- groups= and extra= ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda mesh: [(0, 1), (1, 2)], " puts rank 1 into two groups, (0, 1) and (1, 2)."),
        (lambda mesh: [(0, 4)], " has group (0, 4), but the ranks must be from 0 to 3."),
        (lambda mesh: [(-1,)], " has group (-1,), but the ranks must be from 0 to 3."),
        (lambda mesh: [(0,), ()], " has an empty group; leave it out."),
        (lambda mesh: [(1, 0)], " has group (1, 0), whose ranks must ascend; sort them, each once."),
        (lambda mesh: [(0, 0)], " has group (0, 0), whose ranks must ascend; sort them, each once."),
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
    assert refusal(PluginError, 4, Mode("odd", groups=function), only=[]) == f"mode 'odd' (plugin 'extra'){text}"


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


def test_a_groups_function_may_return_no_groups() -> None:
    assert list(extras(8, Mode("odd", groups=lambda mesh: []))["odd"].groups) == []


def test_a_groups_function_is_given_sizes_and_the_ranks_of_a_host() -> None:
    def hosts(mesh: Any) -> Any:
        return mesh.groups("tensor") if mesh.sizes["tensor"] == mesh.ranks_per_host else []

    plan = pgregistry.plan(8, tensor=4, ranks_per_host=4, extra=[Mode("hosts", groups=hosts)])
    assert plan["hosts"].groups == plan["tensor"].groups


def test_extra_modes_stand_beside_those_of_plugins_and_move_nobody() -> None:
    plan = pgregistry.plan(8, tensor=2, extra=[Mode("ends", over="data", at=(0, -1))])
    assert list(plan["ends"].groups) == [(0, 6), (1, 7)]
    assert [plan[name].groups for name in pgregistry.plan(8)] == [
        pgregistry.plan(8, tensor=2)[name].groups for name in pgregistry.plan(8)
    ]


def test_an_extra_mode_of_a_name_that_is_taken_is_refused() -> None:
    said, advice = refusal(PluginError, 8, Mode("tensor", over=())).split("\n")
    assert said == "mode 'tensor' is declared by plugin 'tensor', pgregistry 0.1.0 and by plugin 'extra'."
    assert "disable=['tensor']" in advice
    assert "disable=['extra']" not in advice  # which would be refused: no plugin is called so


def test_a_generator_of_extra_modes_that_raises_is_said() -> None:
    def modes() -> Any:
        yield Mode("one", over=())
        raise KeyError("two")

    assert refusal(ConfigError, 8, tensr=2) == "There is no size 'tensr' (keyword). Did you mean 'tensor'?"
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, extra=modes(), tensr=2)
    assert str(caught.value) == (
        "2 problems:\n"
        "- extra (keyword) raised KeyError: 'two'\n"
        "- There is no size 'tensr' (keyword). Did you mean 'tensor'?"
    )


def test_what_is_not_a_mode_cannot_be_extra() -> None:
    text = refusal(ConfigError, 8, "tensor")  # type: ignore[arg-type]
    assert text == "extra (keyword) contains 'tensor', which must be a Mode."


# --- the plan -------------------------------------------------------------------------------------


def test_a_plan_is_a_collection_of_its_modes() -> None:
    plan = pgregistry.plan(8, only=EIGHT)
    assert (tuple(plan), len(plan)) == (plan.modes, 8)
    assert "tensor" in plan
    assert "tensr" not in plan
    assert (plan["tensor"].name, plan["tensor"].over, plan["model"].over) == ("tensor", ("tensor",), ("pipe", "tensor"))


def test_a_mode_that_is_not_there_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8)["tensr"]
    assert str(caught.value) == "The plan has no mode 'tensr'. Did you mean 'tensor'?"


@pytest.mark.parametrize("world_size", [0, -1, 2.0, "8", True, None])
def test_a_world_is_a_whole_number_from_1(world_size: Any) -> None:
    assert refusal(ConfigError, world_size) == (
        f"world_size = {world_size!r} must be a whole number from 1 to 1099511627776."
    )


HUGE = "world_size = {} must be a whole number from 1 to 1099511627776."


@pytest.mark.parametrize(
    ("world_size", "said"),
    [
        ((1 << 40) + 1, "1099511627777"),
        (10**28, "1" + "0" * 28),
        (10**40, "1" + "0" * 40),
        ("8" * 100, f"'{'8' * 39}… (102 characters)"),
        (10**5000, "a number of thousands of digits"),
    ],
    ids=["2^40 + 1", "29 digits", "41 digits", "text", "5001 digits"],
)
def test_a_world_beyond_every_world_is_refused(world_size: Any, said: str) -> None:
    assert refusal(ConfigError, world_size) == HUGE.format(said)


def test_the_largest_world_is_planned_at_once() -> None:
    plan = pgregistry.plan(1 << 40, only=EIGHT, tensor=8, zero1=64)
    last = (1 << 40) - 1
    assert plan["tensor"].group_of(last) == tuple(range(last - 7, last + 1))
    assert len(plan["dummy"].groups) == 1 << 40
    text = refusal(ConfigError, (1 << 40) - 87, tensor=7)  # a prime
    assert text.endswith("\n  tensor could be 1 or 1099511627689.")


def test_ranks_and_sizes_may_be_integers_of_numpy() -> None:
    import numpy as np

    plain = pgregistry.plan(8, tensor=2, within=[0, 1, 2, 3], extra=[lists((0, 1), (2, 3))])
    groups = Mode("m", groups=lambda mesh: np.arange(4).reshape(2, 2))
    plan = pgregistry.plan(np.int64(8), tensor=np.int32(2), within=np.arange(4), extra=[groups])  # type: ignore[arg-type]
    assert plan == plain
    assert plan.to_json() == plain.to_json()
    assert {type(value) for value in (plan.world_size, plan.sizes["tensor"], *(plan.ranks or ()))} == {int}
    assert {type(rank) for group in plan["m"].groups for rank in group} == {int}
    assert plan["tensor"].group_of(np.int64(3)) == (2, 3)  # type: ignore[arg-type]


def test_a_world_of_one_rank_is_a_world() -> None:
    assert {name: list(mode.groups) for name, mode in ((m.name, m) for m in pgregistry.plan(1).planned)} == {
        key: [(0,)] for key in pgregistry.plan(1).modes
    }


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
