"""A plan is the same everywhere, for every world that there can be."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

import pytest
from origin import EIGHT
from plans import SIXTEEN, extras, lists, plan_refusal

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, PgregistryError, Plan, PluginError, Split
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover


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


def test_extra_modes_stand_beside_those_of_plugins_and_move_nobody() -> None:
    plan = pgregistry.plan(8, tensor=2, extra=[Mode("ends", over="data", at=(0, -1))])
    assert list(plan["ends"].groups) == [(0, 6), (1, 7)]
    assert [plan[name].groups for name in pgregistry.plan(8)] == [
        pgregistry.plan(8, tensor=2)[name].groups for name in pgregistry.plan(8)
    ]


def test_a_generator_of_extra_modes_that_raises_is_said() -> None:
    def modes() -> Any:
        yield Mode("one", over=())
        raise KeyError("two")

    assert plan_refusal(ConfigError, 8, tensr=2) == "There is no size 'tensr' (keyword). Did you mean 'tensor'?"
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, extra=modes(), tensr=2)
    assert str(caught.value) == (
        "2 problems:\n"
        "- extra (keyword) raised KeyError: 'two'\n"
        "- There is no size 'tensr' (keyword). Did you mean 'tensor'?"
    )


def test_what_is_not_a_mode_cannot_be_extra() -> None:
    text = plan_refusal(ConfigError, 8, "tensor")  # type: ignore[arg-type]
    assert text == "extra (keyword) contains 'tensor', which must be a Mode."


@pytest.mark.parametrize("world_size", [0, -1, 2.0, "8", True, None])
def test_a_world_is_a_whole_number_from_1(world_size: Any) -> None:
    assert plan_refusal(ConfigError, world_size) == (
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
    assert plan_refusal(ConfigError, world_size) == HUGE.format(said)


def test_the_largest_world_is_planned_at_once() -> None:
    plan = pgregistry.plan(1 << 40, only=EIGHT, tensor=8, zero1=64)
    last = (1 << 40) - 1
    assert plan["tensor"].group_of(last) == tuple(range(last - 7, last + 1))
    assert len(plan["dummy"].groups) == 1 << 40
    text = plan_refusal(ConfigError, (1 << 40) - 87, tensor=7)  # a prime
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


def test_an_error_has_the_plugin_at_fault_and_each_of_several_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, tensr=2, nothing=3, disable=["nettest"], nettest=2)
    nothing = "There is no size 'nothing' (keyword). There are data, pipe, tensor and zero1."
    hsdp = "'hsdp' is off until enabled (entry point group pgregistry.optional)"
    assert [(str(one), one.plugin) for one in caught.value.problems] == [
        ("There is no size 'tensr' (keyword). Did you mean 'tensor'?", None),
        (f"{nothing} No plugin that is on declares it; {hsdp} and 'nettest' is disabled (keyword).", None),
        ("There is no size 'nettest' (keyword): plugin 'nettest' is disabled (keyword).", "nettest"),
    ]
    with pytest.raises(PluginError) as wrong:
        extras(8, Mode("odd", groups=lambda mesh: [(0, 0)]))
    assert wrong.value.plugin == "extra"


LONG = 10**5000  # Python does not print it
UNPRINTABLE: list[dict[str, Any]] = [
    *({name: LONG} for name in ("tensor", "within", "order", "only", "extra", "ranks_per_host", "config", "require")),
    *({"tensor": {key: LONG}} for key in ("size", "backend", "timeout", "cpu", "dedicated")),
    {"tensor": {LONG: 1}},
    *({"extra": [Mode("odd", groups=groups)]} for groups in (lambda mesh: [[LONG]], lambda mesh: [[mesh.sizes[LONG]]])),
]


@pytest.mark.parametrize("keywords", UNPRINTABLE, ids=lambda keywords: next(iter(keywords)))
def test_an_integer_of_thousands_of_digits_is_refused_wherever_it_stands(keywords: dict[str, Any]) -> None:
    with pytest.raises(PgregistryError):
        pgregistry.plan(8, **keywords)
