"""`init(plan=…)` builds a plan that was made before, and `expect=` refuses any other, on real ranks."""

from __future__ import annotations

import logging
import os
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from random_settings import random_settings
from ranks import alive, run_ranks, verified

import pgregistry
from pgregistry import Axis, ConfigError, Mode, Plan, PlanMismatch

KINDS = ("plan", "from_json", "plan_modes", "within")
ROW, COLUMN = Mode("row", over=Axis("x")), Mode("column", over=Axis("y"))


def given(kind: str) -> Plan:
    """Return a plan of 4 ranks as somebody makes it before `init`."""
    match kind:
        case "plan":
            return pgregistry.plan(4, tensor=2, extra=[Mode("ring", groups=lambda mesh: [(3, 1, 0, 2)])])
        case "from_json":
            return Plan.from_json(given("plan").to_json())
        case "plan_modes":
            return pgregistry.plan_modes(4, [ROW, COLUMN], order=["x", "y"], x=2, y=2, keep="row")
    return pgregistry.plan(4, within=[3, 1], tensor=2)


def build_each() -> list[Any]:
    answers = []
    for plan in [given(kind) for kind in KINDS]:
        os.environ |= {"PGREGISTRY": "tensor=4 x", "PGREGISTRY_ORDER": "nowhere", "PGREGISTRY_RANKS_PER_HOST": "few"}
        with pgregistry.init(plan=plan, timeout=50) as context:
            same = context.plan.fingerprint == plan.fingerprint
            answers.append(
                (same, verified(context), {mode: handle.ranks for mode in plan if (handle := context.get(mode))})
            )
    return answers


def test_plans_of_every_maker_are_built_as_they_are_and_the_environment_shapes_none() -> None:
    for rank, answers in enumerate(run_ranks(4, build_each)):
        for plan, answer in zip(map(given, KINDS), answers, strict=True):
            groups = {mode: plan[mode].group_of(rank) for mode in plan if plan[mode].group_of(rank) is not None}
            assert answer == (True, True, groups)


def refuse(keywords: dict[str, Any]) -> list[str]:
    """Return the error of `init` beside a plan of 2 ranks, and whether anything was left; then build it."""
    plan, before = pgregistry.plan(2, tensor=2), alive()
    with pytest.raises(ConfigError) as caught:
        pgregistry.init(**{"plan": plan, **keywords})
    assert alive() == before
    with pgregistry.init(plan=plan) as context:
        assert verified(context)
    return str(caught.value).splitlines()


RULE = "and must not be given beside plan=, which has its own"


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"tensor": 2}, f"tensor (keyword) shapes a plan {RULE}. Leave it out, or make the plan with it."),
        (
            {"order": ["data"], "within": [0, 1], "tensor": {"cpu": True}},
            f"order, within and tensor (keyword) shape a plan {RULE}. Leave them out, or make the plan with them.",
        ),
        ({"plan": 5}, "plan = 5 (keyword) must be a Plan, which plan(), plan_modes() and Plan.from_json() return."),
        (
            {"expect": "gone.json"},
            (
                "expect = gone.json (keyword) cannot be read: No such file or directory. It must be a fingerprint of "
                "32 hexadecimal digits, or the path of a plan's JSON."
            ),
        ),
        ({"timeout": "long"}, "timeout = 'long' (keyword) must be a number of seconds from 0.001 to 31622400."),
    ],
)
def test_what_a_plan_brings_with_it_is_refused_on_every_rank_and_nothing_is_created(
    keywords: dict[str, Any], said: str
) -> None:
    assert run_ranks(2, refuse, keywords) == [[said]] * 2


SHAPING = ("enable", "disable", "only", "extra", "plugins", "ranks_per_host", "hosts", "hosts_per_domain", "lens")


def refuse_each() -> list[str]:
    return [refuse({name: ["tensor"]})[0] for name in SHAPING]


def test_every_other_keyword_of_a_plan_is_refused_too() -> None:
    rule = f"(keyword) shapes a plan {RULE}. Leave it out, or make the plan with it."
    assert run_ranks(2, refuse_each) == [[f"{name} {rule}" for name in SHAPING]] * 2


def refuse_another_world() -> str:
    with pytest.raises(ConfigError) as caught:
        pgregistry.init(plan=pgregistry.plan(8, tensor=2))
    return str(caught.value)


def test_a_plan_for_another_world_is_refused() -> None:
    said = "plan (keyword) is for 8 ranks, but must be for the 2 of this world. Make it with pgregistry.plan(2, …)."
    assert run_ranks(2, refuse_another_world) == [said] * 2


ASKED = """
from pgregistry import Mode, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("acme", over="data")

@hookimpl
def pgregistry_check(plan):
    import os
    if os.environ.get("ASKED"):
        yield "I was asked."

@hookimpl
def pgregistry_process_group_options(mode, backend):
    assert not __import__("os").environ.get("ASKED")

@hookimpl
def pgregistry_ready(context):
    print("ready")
    context.ready = True
"""


def built_with_hooks() -> tuple[bool, list[str]]:
    plan = pgregistry.plan(2, enable=["acme", "other"])
    os.environ["ASKED"] = "1"
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("pgregistry.plan").addHandler(handler)
    os.environ |= {"PGREGISTRY_ENABLE": "acme", "PGREGISTRY_DISABLE": "pipe"}
    with pgregistry.init(plan=plan) as context:
        return getattr(context, "ready", False), lines


def test_ready_is_called_for_the_plugins_that_are_on_and_no_other_hook_is_asked_again(distribution: Any) -> None:
    for name in ("acme", "other"):
        source = ASKED.replace('Mode("acme"', f'Mode("{name}"')
        distribution(
            f"pgregistry-{name}", {name: f"pgregistry_{name}"}, {f"pgregistry_{name}.py": source}, optional=True
        )
    off = (
        "pgregistry_ready is not called for plugins of the plan that are not on here: other (off until enabled (entry "
        "point group pgregistry.optional)) and pipe (disabled (PGREGISTRY_DISABLE))"
    )
    assert run_ranks(2, built_with_hooks) == [(True, [off])] * 2


def given_on_one_rank() -> list[str]:
    """Return what is logged if one rank is given the plan that the others make."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("pgregistry").addHandler(handler)
    given = {"plan": pgregistry.plan(2, disable=["nettest"])} if os.environ["RANK"] == "0" else {"disable": ["nettest"]}
    with pgregistry.init(**given):
        return lines


def test_a_rank_may_be_given_the_plan_that_others_make() -> None:
    assert run_ranks(2, given_on_one_rank, world=False) == [[], []]


def absent() -> list[object]:
    """Ask a context for modes that its plan does not have."""
    with pgregistry.init(plan=pgregistry.plan(2, disable=["nettest"])) as context:
        asked: list[object] = [context.get("nettest"), context.group("shard", default=None)]
        for call in (context.__getitem__, context.get):
            for mode in ("nettest", "shard", "nettst"):
                with pytest.raises(ConfigError) if call != context.get or mode == "nettst" else nullcontext() as caught:
                    call(mode)
                asked += [str(caught.value)] if caught else []
    return asked


def test_a_mode_whose_plugin_is_not_in_the_plan_is_absent_as_if_it_were_off() -> None:
    rule = (
        "Give a plan that was made with it, or call context.get({!r}), which returns None as long as the plugin is off."
    )
    misspelt = "There is no mode 'nettst'. Did you mean 'nettest'?"
    said = [
        f"There is no mode 'nettest': plugin 'nettest' is not in the plan. {rule.format('nettest')}",
        f"There is no mode 'shard': plugin 'hsdp' has it, but is not in the plan. {rule.format('shard')}",
        misspelt,
    ]
    assert run_ranks(2, absent) == [[None, None, *said, misspelt]] * 2


def expecting(file: str, tensor: int, **keywords: Any) -> str:
    try:
        with pgregistry.init(tensor=tensor, expect=file, **keywords) as context:
            return context.plan.fingerprint
    except ConfigError as error:
        return str(error)


def test_another_plan_than_the_expected_one_is_refused_on_every_rank_with_the_difference(tmp_path: Path) -> None:
    plan = pgregistry.plan(4, tensor=2)
    file = tmp_path / "plan.json"
    file.write_text(plan.to_json(), encoding="utf-8")
    assert run_ranks(4, expecting, str(file), 2) == [plan.fingerprint] * 4
    assert run_ranks(4, expecting, plan.fingerprint.upper(), 2) == [plan.fingerprint] * 4
    said = run_ranks(4, expecting, str(file), 4)
    assert said == [said[0]] * 4
    assert said[0].startswith(f"The plan must be the one in {file} (expect, keyword), but it differs from it:\n")
    assert "\n  size tensor: 4 (keyword) here, 2 (keyword) expected\n" in said[0]


def expecting_on_one_rank() -> str:
    expect = "0" * 32 if dist.get_rank() == 1 else None
    with pytest.raises((ConfigError, PlanMismatch)) as caught:
        pgregistry.init(tensor=2, expect=expect)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_what_one_rank_alone_expects_stops_all_ranks() -> None:
    other, mine = run_ranks(2, expecting_on_one_rank)
    assert mine.startswith(f"ConfigError: The plan must have fingerprint {'0' * 32} (expect, keyword), but it has ")
    assert other.startswith("PlanMismatch: ")
    assert "must have fingerprint" in other


def build_random(seed: int) -> bool:
    chance = random.Random(seed)
    plan = pgregistry.plan(8, **random_settings(chance, 8))
    with pgregistry.init(plan=Plan.from_json(plan.to_json()), expect=plan.fingerprint) as context:
        return verified(context)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_random_plans_are_built_from_their_json(seed: int) -> None:
    assert run_ranks(8, build_random, seed) == [True] * 8
