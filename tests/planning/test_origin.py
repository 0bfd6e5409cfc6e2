"""The bundled modes have the origin's ranks, and refuse what the origin gets wrong in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import origin
import pytest

import pgregistry
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "internlm.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bundled() -> Any:
    """The eight, whatever else was added since."""
    return tuple(one for one in discover() if one.plugin.name in origin.EIGHT)


def keywords(args: dict[str, int]) -> dict[str, int]:
    """The origin's arguments in our names; its zero1 <= 0 is our default."""
    ours = {"pipe" if name == "pipeline" else name: size for name, size in args.items()}
    if ours["zero1"] <= 0:
        del ours["zero1"]
    return ours


def ascending(groups: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
    """The order of a plan: by first rank. (The origin's loops make zero1 tensor lane by tensor lane.)"""
    return {name: sorted(lists) for name, lists in groups.items()}


def refusal(world_size: int, **sizes: int) -> str:
    with pytest.raises(pgregistry.ConfigError) as caught:
        pgregistry.plan(world_size, **sizes)
    return str(caught.value)


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['world_size']}-{case['args']}")
def test_the_plan_has_the_rank_lists_that_the_origin_made(case: dict[str, Any]) -> None:
    plan = pgregistry.plan(case["world_size"], **keywords(case["args"]))
    ours = {name: [list(group) for group in plan[name].groups] for name in case["groups"]}
    assert ours == case["groups"]


def test_a_pipe_of_one_stage_is_each_rank_alone_where_the_origin_has_no_such_mode() -> None:
    without = [case for case in TABLE["cases"] if "pipe" not in case["groups"]]
    assert {case["args"]["pipeline"] for case in without} == {1}
    for case in without:
        plan = pgregistry.plan(case["world_size"], **keywords(case["args"]))
        assert list(plan["pipe"].groups) == [(rank,) for rank in range(case["world_size"])]


@pytest.mark.parametrize("world_size", range(1, 65))
def test_every_valid_combination_of_sizes_makes_the_groups_of_the_origins_formulas(
    world_size: int, bundled: Any
) -> None:
    for number, (tensor, pipe, zero1) in enumerate(origin.valid_sizes(world_size)):
        nettest = number * 5 % (world_size + 1) + 1
        sizes = {"tensor": tensor, "pipe": pipe, "zero1": zero1, "nettest": nettest}
        plan = Planner.read(world_size, sizes, environ={}, installed=bundled).plan()
        ours = {name: [list(group) for group in plan[name].groups] for name in plan}
        assert ours == ascending(origin.groups(world_size, **sizes)), sizes


@pytest.mark.parametrize("world_size", [1, 2, 7, 12, 31, 64])
def test_every_size_of_nettest_makes_the_groups_of_the_origins_formula(world_size: int, bundled: Any) -> None:
    for nettest in range(1, world_size + 2):
        plan = Planner.read(world_size, {"nettest": nettest}, environ={}, installed=bundled).plan()
        expected = origin.groups(world_size, tensor=1, pipe=1, zero1=world_size, nettest=nettest)
        assert [list(group) for group in plan["nettest"].groups] == expected["nettest"], nettest


def test_the_origin_has_eight_modes_and_so_has_the_plan(bundled: Any) -> None:
    assert sorted(Planner.read(8, {}, environ={}, installed=bundled).plan()) == sorted(origin.EIGHT)
    assert sorted(origin.groups(8, tensor=2, pipe=2, zero1=2, nettest=3)) == sorted(origin.EIGHT)


def test_zero1_3_of_data_4_is_refused_where_the_origin_leaves_ranks_9_to_11_with_nothing() -> None:
    left_out = {rank for group in origin.groups(12, 3, 1, 3, 32)["zero1"] for rank in group} ^ set(range(12))
    assert left_out == {9, 10, 11}
    assert refusal(12, tensor=3, zero1=3) == (
        "zero1 = 3 (keyword) does not divide data = 4 (what is left).\n  zero1 could be 1, 2 or 4."
    )


def test_zero1_above_data_is_refused_where_the_origin_makes_no_group() -> None:
    assert origin.groups(12, 3, 1, 12, 32)["zero1"] == []
    assert refusal(12, tensor=3, zero1=12) == (
        "zero1 = 12 (keyword) does not divide data = 4 (what is left).\n  zero1 could be 1, 2 or 4."
    )


REFUSALS = {
    "zero1=4 larger than data=2": (
        {"tensor": 2, "pipe": 2, "zero1": 4},
        "zero1 = 4 (keyword) does not divide data = 2 (what is left).\n  zero1 could be 1 or 2.",
    ),
    "tensor larger than the world": (
        {"tensor": 8, "pipe": 1},
        (
            "tensor = 8 does not divide world size 4.\n"
            "  tensor = 8 (keyword)\n"
            "  data takes what is left\n"
            "  tensor could be 1, 2 or 4."
        ),
    ),
    "world not a multiple of tensor*pipeline": (
        {"tensor": 5, "pipe": 2},
        (
            "pipe × tensor = 2 × 5 = 10 does not divide world size 12.\n"
            "  pipe = 2 (keyword)\n"
            "  tensor = 5 (keyword)\n"
            "  data takes what is left\n"
            "  tensor could be 1, 2, 3 or 6."
        ),
    ),
    "zero1 > data: no group at all, silently": (
        {"data": 2, "pipe": 2, "tensor": 2, "zero1": 4, "nettest": 32},
        "zero1 = 4 (keyword) does not divide data = 2 (keyword).\n  zero1 could be 1 or 2.",
    ),
    "world % data != 0: assertion without a message": (
        {"data": 3, "pipe": 1, "tensor": 2, "zero1": 1, "nettest": 32},
        (
            "data × tensor = 3 × 2 = 6 is not world size 8.\n"
            "  data = 3 (keyword)\n"
            "  tensor = 2 (keyword)\n"
            "  data could be 4."
        ),
    ),
    "zero1=0 is taken as -1: zero1 = data (valid, not an error)": (
        {"tensor": 2, "pipe": 2, "zero1": 0},
        "zero1 = 0 (keyword) must be a whole number from 1 to 1099511627776.",
    ),
}


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: case["detail"])
def test_what_the_origin_refuses_or_swallows_is_refused_with_the_sizes_that_would_do(case: dict[str, Any]) -> None:
    sizes, text = REFUSALS[case["detail"]]
    assert keywords({"zero1": -1, **case["args"]}) == {name: size for name, size in sizes.items() if size > 0}
    assert refusal(case["world_size"], **sizes) == text


def test_without_a_zero1_size_the_whole_data_group_shares_as_in_the_origins_zero1_0() -> None:
    case = next(case for case in TABLE["refused"] if case["args"]["zero1"] == 0)
    plan = pgregistry.plan(case["world_size"], **keywords(case["args"]))
    assert {name: [list(group) for group in plan[name].groups] for name in case["groups"]} == case["groups"]
