"""`plan_modes`: a plan of given modes and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pgregistry
from pgregistry import HOST, WORLD, Axis, ConfigError, Mode, PluginError, Split, plan_modes

GRID = Split(WORLD, inner="columns", outer="rows")
MODES = (Mode("row", over=GRID), Mode("column", over=GRID.outer), Mode("ends", over=GRID, at=(0, -1)))


def test_exactly_the_given_modes_are_planned() -> None:
    plan = plan_modes(6, MODES, columns=3)
    assert plan.modes == ("row", "column", "ends")
    assert list(plan["row"].groups) == [(0, 1, 2), (3, 4, 5)]
    assert list(plan["column"].groups) == [(0, 3), (1, 4), (2, 5)]
    assert list(plan["ends"].groups) == [(0, 2), (3, 5)]
    assert plan.sizes == {"columns": 3, "rows": 2}
    assert plan.origins == {"columns": "argument", "rows": "what is left"}


def test_no_plugin_no_environment_and_no_file_counts(
    distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("pgregistry-broken", {"broken": "pgregistry_broken"}, {"pgregistry_broken.py": "raise OSError\n"})
    monkeypatch.setenv("PGREGISTRY", "columns=2 nothing=3")
    monkeypatch.setenv("PGREGISTRY_CONFIG", "/no/such/file.toml")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert plan_modes(6, MODES, columns=3).sizes["columns"] == 3
    assert plan_modes(6, MODES).sizes["columns"] == 1
    with pytest.raises(ConfigError, match="host = HOST must know how many ranks each host has"):
        plan_modes(8, [Mode("host", over=Split(WORLD, inner="host", size=HOST))])


def test_it_has_the_fingerprint_of_the_same_modes_beside_no_plugin() -> None:
    alone, beside = plan_modes(6, MODES, columns=3), pgregistry.plan(6, only=[], extra=MODES, columns=3)
    assert alone.fingerprint == beside.fingerprint


def test_keep_leaves_helpers_out_of_the_plan() -> None:
    plan = plan_modes(6, MODES, columns=3, keep=["ends", "column"])
    assert plan.modes == ("column", "ends")
    assert plan.sizes == {"columns": 3, "rows": 2}
    assert plan_modes(6, MODES, keep="row").modes == ("row",)
    assert plan_modes(6, MODES, keep=()).modes == ()


def test_within_and_hosts_are_as_in_plan() -> None:
    assert list(plan_modes(8, MODES, columns=2, within=[6, 7, 4, 5])["row"].groups) == [(4, 5), (6, 7)]
    host = Split(WORLD, inner="host", size=HOST)
    assert list(plan_modes(8, [Mode("host", over=host)], ranks_per_host=4)["host"].groups)[1] == (4, 5, 6, 7)


def test_a_size_of_none_says_nothing() -> None:
    assert plan_modes(6, MODES, columns=None, rows=3).sizes == {"columns": 2, "rows": 3}


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        (
            {"columns": 4},
            ConfigError,
            "columns = 4 (argument) does not divide world = 6.\n  columns could be 1, 2, 3 or 6.",
        ),
        (
            {"columns": 3, "rows": 3},
            ConfigError,
            "rows × columns = 3 × 3 = 9 is not world = 6.\n  rows = 3 (argument)\n  columns = 3 (argument)",
        ),
        ({"colums": 3}, ConfigError, "There is no size 'colums' (argument). Did you mean 'columns'?"),
        (
            {"columns": "many"},
            ConfigError,
            "columns = 'many' (argument) must be a whole number from 1 to 1099511627776.",
        ),
        (
            {"only": 3},
            ConfigError,
            "'only' (argument) cannot be a size: plan() and init() have a parameter of that name.",
        ),
        ({"keep": ["rows"]}, ConfigError, "keep: there is no mode 'rows' (argument). Did you mean 'row'?"),
        ({"modes": ()}, PluginError, "plan_modes() has modes=(); it must be one Mode or more."),
        ({"modes": "row"}, PluginError, "plan_modes() has modes=('r', 'o', 'w'); it must be one Mode or more."),
        ({"modes": 3}, PluginError, "plan_modes() has modes=(3,); it must be one Mode or more."),
        ({"modes": [Mode("a", over=Axis("x", size=4))]}, ConfigError, "x = 4 does not divide world size 6."),
    ],
)
def test_errors_say_that_a_value_is_an_argument(keywords: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        plan_modes(6, **{"modes": MODES, **keywords})
    assert str(raised.value).startswith(text)


def test_the_order_of_plan_modes_replaces_the_nesting_of_its_axes() -> None:
    modes = [Mode("x", over=Axis("x", inside="y")), Mode("y", over=Axis("y"))]
    assert list(plan_modes(4, modes, x=2, y=2)["x"].groups) == [(0, 1), (2, 3)]
    assert list(plan_modes(4, modes, order=["x", "y"], x=2, y=2)["x"].groups) == [(0, 2), (1, 3)]
    with pytest.raises(ConfigError, match=r"order: 'z' is not an axis \(argument\)"):
        plan_modes(4, modes, order=["z"], x=2)
