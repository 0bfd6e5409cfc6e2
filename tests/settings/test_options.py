"""The parameters of `plan()` and `init()` are listed once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import pgregistry
from pgregistry.cli.plans.plan import plan_command
from pgregistry.cli.proof.smoke import smoke_command
from pgregistry.settings.options import NAMES, OF_INIT, RESERVED, TEXT_OPTIONS


def parameters(function: Callable[..., Any]) -> set[str]:
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def test_plan_and_init_have_the_parameters_that_are_listed() -> None:
    assert parameters(pgregistry.plan) == NAMES - {*OF_INIT}
    assert parameters(pgregistry.init) - {"plan", "args"} == NAMES  # which only a keyword can give


def test_the_reserved_names_are_one_list_that_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"The reserved names are ([^.]*)\.", text)
    assert set(re.findall(r"`(\w+)`", listed)) == RESERVED
    assert NAMES <= RESERVED


@pytest.mark.parametrize(
    ("command", "without"),
    [
        (plan_command, {"device", "agree_timeout", "build_timeout", "watch", "watch_dir"}),
        (smoke_command, set()),
    ],
)
def test_a_command_has_an_option_for_each_parameter_that_text_can_give(
    command: click.Command, without: set[str]
) -> None:
    assert {parameter.name for parameter in command.params} >= {*TEXT_OPTIONS, "trace"} - without


@pytest.mark.parametrize("name", sorted({*NAMES, "world_size"}))
def test_no_parameter_can_be_a_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY", f"{name}=2")
    with pytest.raises(pgregistry.ConfigError) as caught:
        pgregistry.plan(8)
    rule = f"{name!r} (PGREGISTRY) cannot be a size: plan() and init() have a parameter of that name."
    way_out = f" Write --{name.replace('_', '-')} or PGREGISTRY_{name.upper()}." if name in TEXT_OPTIONS else ""
    assert str(caught.value) == rule + way_out


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_plugin_can_declare_a_reserved_name(name: str) -> None:
    with pytest.raises(pgregistry.PluginError, match=f"size '{name}' has the name of a parameter"):
        pgregistry.plan(8, extra=[pgregistry.Mode("m", over=pgregistry.Axis(name))])


def test_plan_names_the_parameters_that_only_init_has() -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        pgregistry.plan(8, backend="nccl", timeout=5)
    assert str(caught.value) == (
        "2 problems:\n"
        "- 'backend' (keyword) is a parameter of init(), not of plan().\n"
        "- 'timeout' (keyword) is a parameter of init(), not of plan()."
    )
