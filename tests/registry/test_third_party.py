"""A distribution that the core does not know adds modes and moves no rank of another mode."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import without_ends

import pgregistry
from pgregistry import PluginError

CONTEXT = """
from pgregistry import Axis, Mode, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("context", over=Axis("context", inside="data", outside="tensor"))
    yield Mode("data_context", over=("data", "context"))
"""
EXPERT = """
from pgregistry import Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    split = Split("data", inner="expert", outer="expert_data")
    yield Mode("expert", over=split)
    yield Mode("expert_data", over=split.outer)
"""
ENDS = """
from pgregistry import Mode, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("ends", over="pipe", at=(0, -1))
"""
MODULES = ("acme_context", "acme_expert", "acme_ends")


@pytest.fixture
def acme(installed_plugin: Callable[..., Path]) -> Path:
    points = {"context": "acme_context", "expert": "acme_expert", "ends": "acme_ends"}
    sources = {"acme_context.py": CONTEXT, "acme_expert.py": EXPERT, "acme_ends.py": ENDS}
    return installed_plugin("pgregistry-acme", points, sources, version="1.2")


def lists(plan: pgregistry.Plan, *names: str) -> dict[str, list[tuple[int, ...]]]:
    return {name: list(plan[name].groups) for name in names or plan}


@pytest.mark.parametrize("sizes", [{}, {"tensor": 2}, {"tensor": 2, "pipe": 2, "zero1": 2, "nettest": 3}])
def test_at_its_default_sizes_a_new_distribution_moves_nobody(sizes: dict[str, int], acme: Path) -> None:
    with_it = pgregistry.plan(16, **sizes)
    without = pgregistry.plan(16, **sizes, disable=["context", "expert", "ends"])
    assert set(with_it) - set(without) == {"context", "data_context", "expert", "expert_data", "ends"}
    assert lists(with_it, *without) == lists(without)
    assert [name for name in with_it if name in without] == list(without)


def test_at_its_default_sizes_its_groups_are_single_ranks_or_those_of_its_neighbours(acme: Path) -> None:
    plan = pgregistry.plan(8, tensor=2)
    assert lists(plan, "context", "expert") == {key: [(rank,) for rank in range(8)] for key in ("context", "expert")}
    assert plan["data_context"].groups == plan["expert_data"].groups == plan["data"].groups


def test_a_context_axis_lies_inside_data_and_outside_tensor(acme: Path) -> None:
    plan = pgregistry.plan(8, tensor=2, context=2)
    assert lists(plan, "data", "context", "tensor", "data_context") == {
        "data": [(0, 4), (1, 5), (2, 6), (3, 7)],
        "context": [(0, 2), (1, 3), (4, 6), (5, 7)],
        "tensor": [(0, 1), (2, 3), (4, 5), (6, 7)],
        "data_context": [(0, 2, 4, 6), (1, 3, 5, 7)],
    }


def test_modes_over_other_axes_are_right_beside_an_axis_they_never_heard_of(acme: Path) -> None:
    plan = pgregistry.plan(16, tensor=2, context=2, pipe=2, order=["data", "pipe", "context", "tensor"])
    assert lists(plan, "pipe", "model", "data")["pipe"][:3] == [(0, 4), (1, 5), (2, 6)]
    assert list(plan["model"].groups) == [(0, 1, 4, 5), (2, 3, 6, 7), (8, 9, 12, 13), (10, 11, 14, 15)]
    assert list(plan["data"].groups) == [(rank, rank + 8) for rank in range(8)]


def test_an_expert_split_of_data_has_its_outer_part(acme: Path) -> None:
    plan = pgregistry.plan(8, tensor=2, expert=2, zero1=4)
    assert lists(plan, "expert", "expert_data", "zero1") == {
        "expert": [(0, 2), (1, 3), (4, 6), (5, 7)],
        "expert_data": [(0, 4), (1, 5), (2, 6), (3, 7)],
        "zero1": [(0, 2, 4, 6), (1, 3, 5, 7)],
    }
    assert (plan.sizes["expert_data"], plan.origins["expert_data"]) == (2, "what is left")


def test_the_outer_part_can_be_set_instead(acme: Path) -> None:
    plan = pgregistry.plan(8, tensor=2, expert_data=2)
    assert lists(plan, "expert") == lists(pgregistry.plan(8, tensor=2, expert=2), "expert")


def test_the_first_and_the_last_stage_are_a_mode(acme: Path) -> None:
    plan = pgregistry.plan(12, tensor=2, pipe=3)
    assert list(plan["ends"].groups) == [(0, 4), (1, 5), (6, 10), (7, 11)]
    assert [rank for rank in range(12) if plan["ends"].group_of(rank) is None] == [2, 3, 8, 9]


def test_two_axes_that_nobody_nests_are_refused_with_who_declares_them(acme: Path) -> None:
    with pytest.raises(PluginError) as caught:
        pgregistry.plan(8, context=2, pipe=2)
    assert without_ends(str(caught.value)) == (
        "Axes 'context' (plugin 'context', pgregistry-acme 1.2) and 'pipe' (plugin 'pipe', pgregistry 0.1.0) "
        "are both larger than 1 and neither is inside the other.\n"
        "Set their order, outermost first, as in order=['data', 'context', 'pipe'], "
        "or ask the author of one to declare inside= or outside=."
    )


def test_order_nests_them(acme: Path) -> None:
    plan = pgregistry.plan(8, context=2, pipe=2, order=["data", "pipe", "context"])
    assert lists(plan, "context", "pipe") == {
        "context": [(0, 1), (2, 3), (4, 5), (6, 7)],
        "pipe": [(0, 2), (1, 3), (4, 6), (5, 7)],
    }


def test_the_plan_says_who_declares_a_mode(acme: Path) -> None:
    assert str(pgregistry.plan(8)["ends"].plugin) == "plugin 'ends', pgregistry-acme 1.2"


def test_its_sizes_are_set_like_all_others(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY", "context=4 ends={timeout=5}")
    plan = pgregistry.plan(8)
    assert (plan.sizes["context"], plan.origins["context"], plan["ends"].timeout) == (4, "PGREGISTRY", 5.0)


@pytest.mark.parametrize(
    "switch", [{"disable": ["context", "expert", "ends"]}, {"only": ["data", "tensor"]}], ids=["disable", "only"]
)
def test_it_is_switched_off_without_being_imported(switch: dict[str, Any], acme: Path) -> None:
    assert not {"context", "expert", "ends"} & set(pgregistry.plan(8, **switch))
    assert not set(MODULES) & set(sys.modules)


def test_only_what_is_on_is_imported(acme: Path) -> None:
    pgregistry.plan(8, disable=["expert"])
    assert set(MODULES) & set(sys.modules) == {"acme_context", "acme_ends"}


def test_its_modes_need_the_axis_they_are_over(acme: Path) -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        pgregistry.plan(8, disable=["pipe", "model"])
    assert str(caught.value) == (
        "mode 'ends' (plugin 'ends', pgregistry-acme 1.2) needs 'pipe', but plugin 'pipe' is disabled (keyword).\n"
        "Switch 'pipe' on, or disable 'ends' too."
    )


def test_a_distribution_of_the_optional_group_is_off_until_enabled(installed_plugin: Callable[..., Path]) -> None:
    installed_plugin("pgregistry-other", {"ends": "acme_ends"}, {"acme_ends.py": ENDS}, optional=True)
    assert "ends" not in pgregistry.plan(8)
    assert "acme_ends" not in sys.modules
    assert "ends" in pgregistry.plan(8, enable=["ends"])
    assert pgregistry.plan(8, only=["pipe", "ends"]).modes == ("pipe", "ends")


def test_two_distributions_live_side_by_side_in_either_order_on_the_path(installed_plugin: Callable[..., Path]) -> None:
    installed_plugin("pgregistry-a", {"expert": "acme_expert"}, {"acme_expert.py": EXPERT})
    installed_plugin("pgregistry-b", {"ends": "acme_ends"}, {"acme_ends.py": ENDS})
    before = pgregistry.plan(8, tensor=2, pipe=2, expert=2)
    sys.path[0], sys.path[1] = sys.path[1], sys.path[0]
    assert pgregistry.plan(8, tensor=2, pipe=2, expert=2).to_json() == before.to_json()
