"""A hook that raises, or returns what it must not, is an error of its plugin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from acme_plugin import ACME, HEAD, modes_hook, refusal

import pgregistry
from pgregistry import ConfigError, Mode, Plan, PluginError
from pgregistry.planning.planner import Planner
from pgregistry.values import shown

WRONG_MODES = [
    ("raise KeyError('a')", " raised KeyError in pgregistry_modes: 'a'"),
    (
        "yield Mode('acme', over=()); 1 // 0",
        " raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero",
    ),
    (
        "return map(lambda number: 1 // number, [0])",
        " raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero",
    ),
    (
        "return type('Lazy', (), {'__iter__': lambda self: 1 // 0})()",
        " raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero",
    ),
    ("yield 'acme'", ": pgregistry_modes yielded 'acme', which is not a Mode; yield each Mode."),
    ("return [None]", ": pgregistry_modes yielded None, which is not a Mode; yield each Mode."),
    ("return None", ": pgregistry_modes returned None; yield each Mode."),
    ("return 5", ": pgregistry_modes returned 5; yield each Mode."),
    (
        "return Mode('acme', over=())",
        f": pgregistry_modes returned {shown(Mode('acme', over=()))}; yield each Mode.",
    ),
    (
        "yield Mode('acme', over=(), at=())",
        ": Mode('acme') has at=(); it must be positions in a group, such as (0, -1).",
    ),
]


@pytest.mark.parametrize(("body", "text"), WRONG_MODES, ids=[body for body, _ in WRONG_MODES])
def test_what_yields_no_modes_is_named_with_its_distribution(body: str, text: str, acme: Any) -> None:
    acme(modes_hook(body))
    assert refusal(PluginError) == f"{ACME}{text}"


@pytest.mark.parametrize("body", ["return Mode('acme', over=Axis('acme'))", "yield 'acme'", "yield Mode('acme', at=1)"])
@pytest.mark.parametrize("given", [{"acme": 2}, {"order": ["data", "acme"]}, {"config": "[acme]\ntimeout = 60\n"}])
def test_what_follows_from_a_hook_that_failed_is_not_in_the_error(
    body: str, given: dict[str, Any], acme: Any, toml: Any
) -> None:
    acme(modes_hook(body))
    if "config" in given:
        given = {"config": toml(given["config"])}
    text = refusal(PluginError, **given, extra=[Mode("uses", over="acme")])
    assert text == refusal(PluginError)
    assert "\n" not in text


def test_an_error_of_a_class_of_the_plugins_own_is_named_with_its_distribution(acme: Any) -> None:
    mine = "class Mine(pgregistry.ConfigError):\n    def __init__(self):\n        super().__init__('no disk')\n"
    acme(f"import pgregistry\n{mine}\n{modes_hook('raise Mine()')}")
    assert refusal(ConfigError) == f"{ACME}: no disk"


def test_a_list_of_modes_is_as_good_as_a_generator(acme: Any) -> None:
    acme(modes_hook("return [Mode('acme', over=())]"))
    assert "acme" in pgregistry.plan(4)


def test_a_plugin_may_declare_no_mode(acme: Any) -> None:
    acme(modes_hook("return []"))
    assert pgregistry.plan(4).modes == pgregistry.plan(4, disable=["acme"]).modes


def check_hook(body: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef pgregistry_check(plan):\n    {body}\n"


def test_the_sentences_of_all_checks_make_one_error(acme: Any, distribution: Any) -> None:
    acme(check_hook("yield f'data = {plan.sizes[\"data\"]} is odd.'; yield 'It rains.'"))
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": check_hook("return 'No.'")})
    assert refusal(ConfigError) == (
        f"3 problems:\n- {ACME}: data = 4 is odd.\n- {ACME}: It rains.\n- plugin 'other', pgregistry-other 0.1: No."
    )


@pytest.mark.parametrize("body", ["return None", "return []", "yield from ()"])
def test_a_check_without_a_sentence_says_that_all_is_well(body: str, acme: Any) -> None:
    acme(check_hook(body))
    assert pgregistry.plan(4).modes == pgregistry.plan(4, disable=["acme"]).modes


LAZY = "return type('Lazy', (), {'__iter__': lambda self: 1 // 0})()"


@pytest.mark.parametrize("body", ["1 // 0", "yield 1 // 0", "return map(lambda number: 1 // number, [0])", LAZY])
def test_a_check_that_raises_is_named(body: str, acme: Any) -> None:
    acme(check_hook(body))
    assert refusal(PluginError) == (
        f"{ACME} raised ZeroDivisionError in pgregistry_check: integer division or modulo by zero"
    )


@pytest.mark.parametrize("body", ["return 5", "return [5]", "return True", "yield None"])
def test_a_check_that_yields_no_sentences_is_named(body: str, acme: Any) -> None:
    acme(check_hook(body))
    assert refusal(PluginError).startswith(f"{ACME}: pgregistry_check ")


@pytest.mark.parametrize(
    ("body", "answer"),
    [("return ''", "''"), ("return ' '", "' '"), ("yield ''", "['']"), ("yield 'It rains.'; yield '\\t'", None)],
)
def test_a_check_that_yields_an_empty_sentence_is_named(body: str, answer: str | None, acme: Any) -> None:
    acme(check_hook(body))
    answer = answer or repr(["It rains.", "\t"])
    assert (
        refusal(PluginError)
        == f"{ACME}: pgregistry_check returned {answer}; it must yield one sentence for each reason."
    )


def options_hook(body: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef pgregistry_process_group_options(mode, backend):\n    {body}\n"


def test_options_are_those_of_the_plugin_that_answers_for_a_mode(acme: Any) -> None:
    acme(options_hook("return {'fast': True, 'backend': backend} if mode in ('data', 'pipe') else None"))
    plan = Planner.read(4, {"data": {"backend": "nccl"}}, backend="gloo").plan()
    assert plan["data"].options == {"fast": True, "backend": "nccl"}
    assert plan["pipe"].options == {"fast": True, "backend": "gloo"}
    assert plan["tensor"].options == {}
    without = pgregistry.plan(4, data={"backend": "nccl"}, disable=["acme"])
    assert plan.fingerprint == without.fingerprint  # what a hook answers depends on the backend
    assert plan.diff(without)[0].startswith("options of mode data: {'fast': True, 'backend': 'nccl'} here, {} there")
    assert Plan.from_json(plan.to_json()) == plan


def test_options_of_a_run_replace_those_of_the_hook_which_replace_those_of_the_mode_key_by_key(acme: Any) -> None:
    acme(options_hook("return {'b': 2, 'c': 2} if mode == 'm' else None"))
    mode = Mode("m", over="data", options={"a": 1, "b": 1, "c": 1, "d": 1})
    plan = pgregistry.plan(4, extra=[mode], m={"options": {"c": 3, "e": 3}})
    assert plan["m"].options == {"a": 1, "b": 2, "c": 3, "d": 1, "e": 3}
    assert plan["m"].said_options == {"a": 1, "b": 1, "c": 3, "d": 1, "e": 3}
    (entry,) = [one for one in json.loads(plan.to_json())["modes"] if one["name"] == "m"]
    assert (entry["options"], entry["built_options"]) == (plan["m"].said_options, plan["m"].options)
    off = pgregistry.plan(4, extra=[mode], m={"options": {"c": 3, "e": 3}}, disable=["acme"])
    assert off["m"].options == plan["m"].said_options
    assert off.fingerprint == plan.fingerprint != pgregistry.plan(4, extra=[mode], disable=["acme"]).fingerprint
    assert Plan.from_json(plan.to_json()) == plan


def test_two_plugins_that_answer_for_one_mode_are_refused(acme: Any, distribution: Any) -> None:
    source = options_hook("return {'fast': True} if mode == 'data' else None")
    acme(source)
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": source})
    assert refusal(PluginError) == (
        f"Both {ACME} and plugin 'other', pgregistry-other 0.1 give process group options for mode 'data'; "
        "run with disable=['acme'] or disable=['other']."
    )


@pytest.mark.parametrize("answer", ["'fast'", "5", "['fast']", "{1: 2}", "{'fast': object}", "{'fast': [1]}"])
def test_options_are_a_plain_mapping(answer: str, acme: Any) -> None:
    acme(options_hook(f"return {answer}"))
    assert refusal(PluginError) == (
        f"{ACME}: pgregistry_process_group_options returned {eval(answer)!r}; "
        "it must return a mapping of names to plain values."
    )


@pytest.mark.parametrize("hook", ["pgregistry_modes()", "pgregistry_check(plan)"])
def test_a_hook_that_exits_is_an_error_of_the_plugin(hook: str, acme: Any) -> None:
    acme(f"import sys\n{HEAD}\n@hookimpl\ndef {hook}:\n    sys.exit(4)\n")
    assert refusal(PluginError) == f"{ACME} raised SystemExit in {hook.partition('(')[0]}: 4"


def test_options_that_json_cannot_say_are_refused(acme: Any) -> None:
    acme(options_hook("return {'speed': float('nan')}"))
    said = f"{ACME}: pgregistry_process_group_options returned {{'speed': nan}}; "
    assert refusal(PluginError) == f"{said}it must return a mapping of names to plain values."
