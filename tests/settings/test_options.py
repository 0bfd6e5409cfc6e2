"""The parameters of `plan()` and `init()` are listed once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click
import pytest

import pgregistry
from pgregistry.cli.plans.plan import plan_command
from pgregistry.cli.proof.smoke import smoke_command
from pgregistry.settings.options import OPTIONS, PLAN_OPTIONS, RESERVED, TEXT_OPTIONS


def parameters(function: Callable[..., Any]) -> set[str]:
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def test_plan_and_init_have_the_parameters_that_are_listed() -> None:
    assert parameters(pgregistry.plan) == PLAN_OPTIONS
    assert parameters(pgregistry.init) == {option.name for option in OPTIONS}
    assert parameters(pgregistry.init) | {"world_size"} == RESERVED


@pytest.mark.parametrize("command", [plan_command, smoke_command], ids=["plan", "smoke"])
def test_a_command_has_an_option_for_each_parameter_that_text_can_give(command: click.Command) -> None:
    assert {parameter.name for parameter in command.params} >= {*TEXT_OPTIONS, "trace"}


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_parameter_can_be_a_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY", f"{name}=2")
    with pytest.raises(pgregistry.ConfigError) as caught:
        pgregistry.plan(8)
    assert str(caught.value) == (
        f"{name!r} (PGREGISTRY) cannot be a size: plan() and init() have a parameter of that name."
    )
