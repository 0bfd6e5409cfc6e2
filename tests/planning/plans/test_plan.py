"""A plan is a collection of its modes."""

from __future__ import annotations

import pytest
from origin import EIGHT
from plans import extras, lists

import pgregistry
from pgregistry import ConfigError, Plan


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


def test_a_mode_that_cannot_be_printed_is_not_there() -> None:
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, only=["tensor"])[10**5000]  # type: ignore[index]
    assert str(caught.value) == "The plan has no mode a number of thousands of digits. There is only tensor."
