"""`pgregistry check`: the properties of a plugin, one line each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pgregistry.cli import run
from pgregistry.testing import LocalRanks, properties
from pgregistry.testing.properties import PROPERTIES

RIGHT = """
from pgregistry import Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("acme", over=Split("data", inner="acme"))
"""


WRONG = """
from pgregistry import Mode, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("acme", groups=lambda mesh: [(0, 1), (1, 2)] * (mesh.world_size > 2))
"""


@pytest.fixture(autouse=True)
def _one_server(local_ranks: LocalRanks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `check` in this process use the ranks of all tests, which have imported torch already."""
    monkeypatch.setattr("pgregistry.testing.ranks.local_ranks.LocalRanks", lambda: nullcontext(local_ranks))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let `check` try some of the properties alone; the others take a while."""

    def choose(*names: str) -> None:
        monkeypatch.setattr(properties, "PROPERTIES", [one for one in PROPERTIES if one.name in names])

    return choose


def test_check_says_a_line_for_each_property(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(RIGHT, optional=True)
    assert run(["check", "acme"]) == 0
    lines = ["acme (pgregistry-acme 0.1)", *(f"  ok     {one.sentence}" for one in PROPERTIES)]
    assert capsys.readouterr().out.splitlines() == [*lines, "", "every property holds: 1 plugin"]


def test_a_quiet_check_says_what_fails_and_nothing_of_what_holds(
    acme: Any, tried: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    acme(WRONG, optional=True)
    tried("it_loads", "groups_are_disjoint_and_cover", "bad_sizes_are_refused")
    assert run(["check", "-q", "acme", "tensor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["acme (pgregistry-acme 0.1)", "  FAILS  groups are disjoint, in range, and leave no rank out"]
    assert [line for line in lines if line.startswith(("  ok", "tensor"))] == []
    assert run(["check", "-q", "tensor"]) == 0
    assert capsys.readouterr().out == "every property holds: 1 plugin\n"


def test_check_says_what_is_wrong_once_and_exits_with_1(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(WRONG)
    assert run(["check", "acme"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("  ok")] == [
        f"  ok     {one.sentence}" for one in PROPERTIES if one.name != "groups_are_disjoint_and_cover"
    ]
    first = lines.index("  FAILS  groups are disjoint, in range, and leave no rank out")
    mode = "mode 'acme' (plugin 'acme', pgregistry-acme 0.1)"
    assert lines[first + 1] == f"         at 3 ranks: {mode} puts rank 1 into two groups, (0, 1) and (1, 2)."
    assert lines[-2:] == ["", "1 property fails: acme"]


def test_check_shows_the_line_of_the_plugin_that_raised(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = acme(RIGHT.replace("yield", "raise ValueError('boom')  #"))
    assert run(["check", "acme"]) == 1
    assert f"{folder}/acme_plugin.py:6: raise ValueError('boom')" in capsys.readouterr().out


def test_check_tells_an_error_of_building_with_its_ranks_and_no_frame_of_ours(
    acme: Any, tried: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tried("it_loads", "it_builds")
    folder = acme(f"{RIGHT}\n@hookimpl\ndef pgregistry_ready(context):\n    context['acm']\n")
    assert run(["check", "acme"]) == 1
    out = capsys.readouterr().out
    assert "Did you mean 'acme'?" in out
    assert "rank 0" in out or "ranks 0" in out
    assert "Traceback" not in out
    assert str(folder) not in out  # the error is one of ours, and says enough


def test_what_a_plugin_prints_is_not_taken_for_a_result(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(RIGHT.replace("yield", "print('hello')\n    yield"))
    assert run(["check", "acme"]) == 0
    out, err = capsys.readouterr()
    assert ("hello" in out, "hello" in err) == (False, True)
    assert run(["plan", "4", "--json"]) == 0
    out, err = capsys.readouterr()
    assert ("hello" in out, "hello" in err) == (False, True)


def test_check_and_new_trace(
    acme: Any, tried: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme(RIGHT)
    tried("it_loads")
    assert run(["check", "acme", "--trace"]) == 0
    asked = "pgregistry: pgregistry_modes() of plugin 'acme', pgregistry-acme 0.1\n"
    assert asked in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGREGISTRY_TRACE", "1")
    assert run(["new", "ring"]) == 0
    assert asked in capsys.readouterr().err


def test_check_without_names_looks_at_all_plugins_that_are_on(
    acme: Any, tried: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme("1 / 0")
    tried("it_loads", "groups_are_right")
    monkeypatch.setenv("PGREGISTRY_ONLY", "dummy,acme")
    assert run(["check"]) == 1
    out = capsys.readouterr().out
    heads = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert heads[0] == "acme (pgregistry-acme 0.1)"
    assert heads[1].startswith("dummy (pgregistry ")
    assert heads[2:] == ["1 property fails: acme"]
    assert "does not load: ZeroDivisionError: division by zero" in out


def test_check_of_a_family_that_cannot_live_beside_the_others(
    acme: Any, tried: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tried("it_loads", "others_keep_their_ranks")
    acme(RIGHT.replace('Split("data", inner="acme")', '__import__("pgregistry").Axis("tensor")'), optional=True)
    assert run(["check", "acme"]) == 1
    assert "is declared by" in capsys.readouterr().out
    assert run(["check", "acme", "--only", "acme,dummy"]) == 0


@pytest.mark.parametrize("way", ["--disable", "PGREGISTRY_DISABLE"])
def test_check_leaves_out_what_is_switched_off(
    way: str, acme: Any, tried: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both declare one mode, and the error advises to switch one of them off."""
    acme(WRONG.replace('"acme", groups=lambda mesh: [(0, 1), (1, 2)] * (mesh.world_size > 2)', '"tensor", over="pipe"'))
    tried("it_loads")
    assert run(["check", "tensor"]) == 1
    assert "acme" in capsys.readouterr().out
    if way == "--disable":
        assert run(["check", "tensor", way, "acme"]) == 0
    else:
        monkeypatch.setenv(way, "acme")
        assert run(["check", "tensor"]) == 0


def test_check_needs_no_pytest() -> None:
    """Run `check` in a process in which the import of pytest fails, as if it were not installed."""
    code = "import sys; sys.modules['pytest'] = None; from pgregistry.cli import run; sys.exit(run(['check', 'dummy']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout.count("  ok  ")) == (0, len(PROPERTIES)), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("frozen", "missing", "not_tried"),
    [
        (False, ["torch"], {"it_builds": "It needs torch, which is not installed."}),
        (False, ["torch", "cloudpickle"], {"it_builds": "It needs torch and cloudpickle, which are not installed."}),
        (
            True,
            [],
            {
                "it_answers_the_same_everywhere": "Another process needs a Python that it can start, "
                "which a frozen program is not.",
                "it_imports_no_torch": "It needs a Python that it can start, which a frozen program is not.",
                "it_builds": "It needs a Python that it can start, which a frozen program is not.",
            },
        ),
    ],
    ids=["no torch", "no extra", "frozen"],
)
def test_check_says_what_it_cannot_try_here_and_tries_the_rest(
    frozen: bool,
    missing: list[str],
    not_tried: dict[str, str],
    acme: Any,
    tried: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acme(RIGHT)
    tried("it_loads", *not_tried)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    assert run(["check", "acme"]) == 0
    expected, seen = ["acme (pgregistry-acme 0.1)"], set[str]()
    for one in properties.PROPERTIES:
        why = not_tried.get(one.name)
        said = "as above" if why in seen else f"not tried: {why}"
        expected += [f"  —      {one.sentence}", f"         {said}"] if why else [f"  ok     {one.sentence}"]
        seen.add(why or "")
    assert capsys.readouterr().out.splitlines() == [*expected, "", "every property that was tried holds: 1 plugin"]
    assert run(["check", "-q", "acme"]) == 0
    assert capsys.readouterr().out == "every property that was tried holds: 1 plugin\n"


def test_check_fails_without_torch_where_the_plugin_is_wrong(
    acme: Any, tried: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme(WRONG)
    tried("it_loads", "groups_are_disjoint_and_cover", "it_builds")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(["check", "acme"]) == 1
    assert capsys.readouterr().out.endswith("\n1 property fails: acme\n")
