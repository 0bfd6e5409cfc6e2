"""Every case of torchtitan's own groups, as a plan of its own and as modes of a run; and what is refused."""

import doctest
import json
from pathlib import Path
from typing import Any

import pgregistry_torchtitan as torchtitan
import pytest

import pgregistry
from pgregistry.testing import PluginConformance

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))
CASES = [(case["world_size"], case["args"], case["groups"]) for case in VECTORS["cases"]]


def table(plan: pgregistry.Plan, prefix: str = "") -> dict[str, list[list[int]]]:
    """Return the groups of the modes with a prefix."""
    names = [name for name in plan.modes if name.startswith(prefix)]
    return {name.removeprefix(prefix): [list(group) for group in plan[name].groups] for name in names}


@pytest.mark.parametrize(("world", "args", "groups"), CASES)
def test_plan_has_the_groups_of_torchtitan(world: int, args: dict[str, Any], groups: dict[str, Any]) -> None:
    assert table(torchtitan.plan(world, **args)) == groups


@pytest.mark.parametrize(("world", "args", "groups"), CASES)
def test_the_modes_of_a_run_have_them_too_beside_the_bundled_ones(
    world: int, args: dict[str, Any], groups: dict[str, Any]
) -> None:
    sizes = {f"torchtitan_{name}": size for name, size in args.items() if name != "spmd_backend"}
    plan = pgregistry.plan(world, enable=["torchtitan"], **sizes)
    found = table(plan, "torchtitan_")
    assert {name: found[name] for name in groups} == groups
    assert plan["data"].groups == pgregistry.plan(world)["data"].groups


def test_dp_shard_is_what_the_other_degrees_leave() -> None:
    assert torchtitan.plan(16, tp=2, cp=2, dp_shard=-1).sizes["dp_shard"] == 4
    assert torchtitan.plan(16, tp=2, cp=2) == torchtitan.plan(16, tp=2, cp=2, dp_shard=-1)


def test_full_dtensor_has_the_axes_that_the_other_backends_fold() -> None:
    sizes = {"dp_replicate": 2, "dp_shard": 2, "cp": 2, "tp": 2, "ep": 4}
    full, types = (table(torchtitan.plan(16, spmd_backend=name, **sizes)) for name in ("full_dtensor", "spmd_types"))
    assert full == {name: groups for name, groups in types.items() if name != "dp"}
    assert full["dp_shard"][0] == [0, 4]


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["detail"])
def test_what_torchtitan_refuses_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(pgregistry.ConfigError):
        torchtitan.plan(case["world_size"], **case["args"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"dp_shard": 4}, "dp_replicate × dp_shard = 1 × 4 = 4 is not world"),
        ({"tp": 3}, "tp = 3 (argument) does not divide"),
        ({"tp": 0}, "tp = 0"),
        ({"cp": -1}, "cp = -1"),
        ({"pp": True}, "pp = True"),
        ({"dp_shard": "2"}, "dp_shard = '2'"),
        ({"etp": 2}, "no size 'etp'"),
        ({"spmd_backend": "dtensor"}, "spmd_backend = 'dtensor'"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_argument(args: dict[str, Any], message: str) -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        torchtitan.plan(8, **args)
    assert message in str(caught.value)


class TestTorchtitan(PluginConformance):
    """All that pgregistry asks of a plugin."""

    plugin = "torchtitan"


def test_the_examples_of_the_documentation_are_right() -> None:
    assert doctest.testmod(torchtitan).failed == 0
    readme = doctest.testfile(str(HERE.parent / "README.md"), module_relative=False)
    assert readme.attempted > 0 == readme.failed
