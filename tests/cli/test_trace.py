"""`--trace` and PGREGISTRY_TRACE=1 print on stderr which hooks are called, what they return, and what follows."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from origin import EIGHT
from ranks import run_ranks

import pgregistry
from pgregistry import ConfigError, Mode, PluginError, cli
from pgregistry.planning.planner import Planner
from pgregistry.registry.discovery import discover
from pgregistry.settings.tracing import tracing

CONTEXT = """
from pgregistry import Axis, Mode, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("context", over=Axis("context", inside="data", outside="tensor"), after="ends", timeout=60)
    yield Mode("ends", over="tensor", at=(0, -1))

@hookimpl
def pgregistry_process_group_options(mode, backend):
    if mode == "context" and backend != "gloo":
        return {"fast": True}

@hookimpl
def pgregistry_check(plan):
    if plan.sizes["context"] > 2:
        yield "context is too large."

@hookimpl
def pgregistry_ready(context):
    pass
"""
TOLD = """\
plugin 'context', pgregistry-context 0.1 (entry point pgregistry: context = acme_context) found in {site}
  on: {site}/acme_context.py
plugin 'tensor', pgregistry {version} (entry point pgregistry: tensor = pgregistry_tensor) found in {core}
  on: {tensor}
plugin 'zero1', pgregistry {version} (entry point pgregistry: zero1 = pgregistry_zero1) found in {core}
  off: disabled (keyword)
Modes given as extra=
  Mode('pairs', groups=pairs)
pgregistry_modes() of plugin 'context', pgregistry-context 0.1
  Mode('context', over=(Axis(name='context', size=1, inside=('data',), outside=('tensor',)),), after=('ends',), \
timeout=60.0)
  Mode('ends', over=('tensor',), at=(0, -1))
pgregistry_modes() of plugin 'tensor', pgregistry {version}
  Mode('tensor', over=(Axis(name='tensor', size=1, inside=(), outside=()),))
Modes in build order: each after those it needs, otherwise by name:
  pairs
  tensor
  ends (after tensor, which declares tensor)
  context (after ends, named in its after=)
Axes, outermost first, from inside and outside of the axes. Those of size 1 move no rank:
  context = 2 (keyword); inside data; outside tensor
  tensor = 2 (keyword)
pgregistry_process_group_options(mode='pairs', backend=None) of plugin 'context', pgregistry-context 0.1
  nothing
pgregistry_process_group_options(mode='tensor', backend=None) of plugin 'context', pgregistry-context 0.1
  nothing
pgregistry_process_group_options(mode='ends', backend=None) of plugin 'context', pgregistry-context 0.1
  nothing
pgregistry_process_group_options(mode='context', backend=None) of plugin 'context', pgregistry-context 0.1
  {{'fast': True}}
pgregistry_check(plan) of plugin 'context', pgregistry-context 0.1
  nothing
"""


def pairs(mesh: Any) -> list[tuple[int, int]]:
    return [(rank, rank + 1) for rank in range(0, mesh.world_size, 2)]


def told(text: str) -> list[str]:
    """Return the lines of a trace without their prefix; fail if anything else is on stderr."""
    assert all(line.startswith("pgregistry: ") for line in text.splitlines()), text
    return [line.removeprefix("pgregistry: ") for line in text.splitlines()]


@pytest.fixture
def context(distribution: Callable[..., Path]) -> Path:
    return distribution("pgregistry-context", {"context": "acme_context"}, {"acme_context.py": CONTEXT})


@pytest.fixture
def broken(distribution: Callable[..., Path]) -> Path:
    source = CONTEXT.replace('yield "context is too large."', "1 // 0")
    return distribution("pgregistry-context", {"context": "acme_context"}, {"acme_context.py": source})


def test_a_trace_tells_who_was_found_what_was_asked_and_answered_and_why_the_order_is_so(
    context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tuple(one for one in discover() if one.plugin.name in ("context", "tensor", "zero1"))
    keywords = {"context": 2, "tensor": 2, "disable": ["zero1"], "extra": [Mode("pairs", groups=pairs)]}
    with tracing(True):
        plan = Planner.read(4, keywords, installed=found).plan()
    core = found[1].entry_point.dist
    assert core is not None
    here = {"site": context, "core": core.locate_file(""), "version": version("pgregistry")}
    file = sys.modules["pgregistry_tensor"].__file__
    out, err = capsys.readouterr()
    assert told(err) == TOLD.format(**here, tensor=file).splitlines()
    assert out == ""
    assert Planner.read(4, keywords, installed=found).plan() == plan
    assert capsys.readouterr().err == ""


def test_order_of_the_user_is_told_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    with tracing(True):
        Planner.read(8, {"order": ["pipe", "data", "tensor"], "pipe": 2, "tensor": 2, "only": EIGHT}).plan()
    lines = told(capsys.readouterr().err)
    start = lines.index("Axes, outermost first, from order = pipe,data,tensor (keyword). Those of size 1 move no rank:")
    assert lines[start + 1 : start + 4] == [
        "  pipe = 2 (keyword); outside tensor",
        "  data = 2 (what is left); outside pipe, tensor",
        "  tensor = 2 (keyword)",
    ]


def test_the_variable_the_option_and_plan_tell_the_same(
    context: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["plan", "8", "context=2", "--trace"]) == 0
    shown, by_option = capsys.readouterr()
    monkeypatch.setenv("PGREGISTRY_TRACE", "1")
    assert cli.run(["plan", "8", "context=2"]) == 0
    assert capsys.readouterr() == (shown, by_option)
    pgregistry.plan(8, context=2)
    said = [line.replace("(command line)", "(keyword)") for line in told(by_option)]
    assert told(capsys.readouterr().err) == said
    assert any(line.startswith("pgregistry_check(plan) of plugin 'context'") for line in said)


@pytest.mark.parametrize("value", ["0", ""])
def test_0_and_an_empty_variable_are_off_and_the_option_wins(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGREGISTRY_TRACE", value)
    assert cli.run(["plan", "8"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.run(["plan", "8", "--trace"]) == 0
    assert "pgregistry_modes() of plugin 'tensor'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["yes", "2", "true", " 1"])
def test_another_value_of_the_variable_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY_TRACE", value)
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8)
    assert str(caught.value) == f"PGREGISTRY_TRACE = {value!r} (environment) must be 0 or 1. 1 is on, 0 is off."


def test_a_slip_in_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY_TRACES", "1")
    with pytest.raises(ConfigError, match=r"^Nothing reads PGREGISTRY_TRACES. Did you mean 'PGREGISTRY_TRACE'\?$"):
        pgregistry.plan(8)


def test_a_plan_that_is_refused_is_traced_up_to_there(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plan", "8", "context=4", "--trace"]) == 1
    assert capsys.readouterr().err.splitlines()[-3:] == [
        "pgregistry: pgregistry_check(plan) of plugin 'context', pgregistry-context 0.1",
        "pgregistry:   context is too large.",
        "ConfigError: plugin 'context', pgregistry-context 0.1: context is too large.",
    ]


def test_a_hook_that_raises_is_told_where_it_was_asked(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PluginError), tracing(True):
        Planner.read(8, {"context": 4}).plan()
    assert told(capsys.readouterr().err)[-4:] == [
        "pgregistry_check(plan) of plugin 'context', pgregistry-context 0.1",
        (
            "  failed: plugin 'context', pgregistry-context 0.1 raised ZeroDivisionError in pgregistry_check: "
            "integer division or modulo by zero"
        ),
        "  To run without it: disable=['context'], --disable context or PGREGISTRY_DISABLE=context.",
        f"  Found in {broken}.",
    ]


def test_a_plugin_that_does_not_load_is_told_with_the_reason(
    distribution: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = distribution("pgregistry-context", {"context": "acme_context"}, {"acme_context.py": "raise OSError('no')"})
    assert cli.run(["plugins", "--trace", "--only", "context"]) == 0
    assert told(capsys.readouterr().err)[:4] == [
        f"plugin 'context', pgregistry-context 0.1 (entry point pgregistry: context = acme_context) found in {site}",
        (
            "  failed: plugin 'context', pgregistry-context 0.1 (entry point pgregistry: context = acme_context) "
            "does not load: OSError: no"
        ),
        "  To run without it: disable=['context'], --disable context or PGREGISTRY_DISABLE=context.",
        f"  Found in {site}.",
    ]


ODD = """
from pgregistry import Mode, hookimpl

class Odd:
    def __call__(self, mesh):
        return [(0, 1)]

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        raise RuntimeError

@hookimpl
def pgregistry_modes():
    yield Mode("odd", groups=Odd())

@hookimpl
def pgregistry_check(plan):
    yield Odd()
"""


def test_what_cannot_be_printed_ends_no_trace_and_escape_codes_do_nothing(
    distribution: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    site = distribution("pgregistry-odd", {"odd": "acme_odd"}, {"acme_odd.py": ODD})
    (metadata,) = site.glob("*/METADATA")
    metadata.write_text("Name: odd\x1b[31m\nVersion: 1\n")
    assert cli.run(["plan", "8", "--trace", "--only", "odd"]) == 1
    err = capsys.readouterr().err
    assert "pgregistry: plugin 'odd', odd\\x1b[31m 1 (entry point pgregistry: odd = acme_odd) found in " in err
    assert "pgregistry:   a Mode whose repr raises RuntimeError\n" in err
    assert "pgregistry:   a Odd whose repr raises RuntimeError\n" in err
    assert "\x1b" not in err


def test_json_on_stdout_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["plan", "8", "--json", "--trace"], ["plugins", "--json", "--trace"]):
        assert cli.run(words) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)
        assert "pgregistry_modes() of plugin 'tensor'" in err


def smoked(*words: str) -> list[str]:
    """Return what one rank traces while `smoke` builds and proves a plan, as it does under a launcher."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        assert cli.run(["smoke", *words, "--backend", "gloo"]) == 0
    return [line for line in err.getvalue().splitlines() if line.startswith("pgregistry: ")]


def test_init_traces_on_the_first_rank_alone_the_ready_hook_included(context: Path) -> None:
    env = {"PGREGISTRY_ONLY": "context,tensor", "PYTHONPATH": str(context)}
    first, second = run_ranks(2, smoked, "context=2", "--trace", world=False, env=env)
    assert second == []
    whose = " of plugin 'context', pgregistry-context 0.1"
    assert [line.removeprefix("pgregistry: ").removesuffix(whose) for line in first if line.endswith(whose)] == [
        "pgregistry_modes()",
        "pgregistry_process_group_options(mode='tensor', backend='gloo')",
        "pgregistry_process_group_options(mode='ends', backend='gloo')",
        "pgregistry_process_group_options(mode='context', backend='gloo')",
        "pgregistry_check(plan)",
        "pgregistry_ready(context)",
    ]
    assert "pgregistry:   off: not in only (PGREGISTRY_ONLY)" in first


def test_the_variable_makes_init_trace_too() -> None:
    env = {"PGREGISTRY_TRACE": "1", "PGREGISTRY_ONLY": "tensor"}
    first, second = run_ranks(2, smoked, "tensor=2", world=False, env=env)
    assert (first[-1], second) == ("pgregistry:   tensor = 2 (command line)", [])


def test_smoke_that_is_refused_is_traced_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["smoke", "--nproc", "2", "tensor=3", "--trace"]) == 1
    err = capsys.readouterr().err
    assert err.count("pgregistry_modes() of plugin 'tensor'") == 1
    assert err.splitlines()[-4].startswith("ConfigError: tensor = 3")
