"""`pgregistry check` and `pgregistry new`: what an author of a plugin types."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pgregistry.cli import run
from pgregistry.testing import LocalRanks
from pgregistry.testing.properties import PROPERTIES

ROOT = Path(__file__).parents[2]
FOUR = ["pyproject.toml", "pgregistry_ring.py", "tests/test_ring.py", "README.md"]
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


@pytest.fixture
def acme(installed_plugin: Callable[..., Path]) -> Callable[..., Path]:
    def install(source: str, **keywords: Any) -> Path:
        return installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source}, **keywords)

    return install


@pytest.fixture(autouse=True)
def _one_server(local_ranks: LocalRanks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `check` in this process take the ranks of all tests, which need not import torch again."""
    monkeypatch.setattr("pgregistry.testing.ranks.local_ranks.LocalRanks", lambda: nullcontext(local_ranks))


# --- check ------------------------------------------------------------------------------------------


def test_check_says_a_line_for_each_property(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(RIGHT, optional=True)
    assert run(["check", "acme"]) == 0
    lines = ["acme (pgregistry-acme 0.1)", *(f"  ok     {one.sentence}" for one in PROPERTIES)]
    assert capsys.readouterr().out.splitlines() == [*lines, "", "every property holds"]


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
    assert lines[-2:] == ["", "1 property fails"]


def test_check_shows_the_line_of_the_plugin_that_raised(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = acme(RIGHT.replace("yield", "raise ValueError('boom')  #"))
    assert run(["check", "acme"]) == 1
    assert f"{folder}/acme_plugin.py:6: raise ValueError('boom')" in capsys.readouterr().out


def test_check_tells_an_error_of_building_with_its_ranks_and_no_frame_of_ours(
    acme: Any, capsys: pytest.CaptureFixture[str]
) -> None:
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
    acme: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme(RIGHT)
    assert run(["check", "acme", "--trace"]) == 0
    asked = "pgregistry: pgregistry_modes() of plugin 'acme', pgregistry-acme 0.1\n"
    assert asked in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGREGISTRY_TRACE", "1")
    assert run(["new", "ring"]) == 0
    assert asked in capsys.readouterr().err


def test_check_without_names_looks_at_all_plugins_that_are_on(
    acme: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme("1 / 0")
    monkeypatch.setenv("PGREGISTRY_ONLY", "dummy,acme")
    assert run(["check"]) == 1
    out = capsys.readouterr().out
    heads = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert heads[0] == "acme (pgregistry-acme 0.1)"
    assert heads[1].startswith("dummy (pgregistry ")
    assert heads[2:] == ["1 property fails"]
    assert "does not load: ZeroDivisionError: division by zero" in out


def test_check_of_a_family_that_cannot_live_beside_the_others(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    acme(RIGHT.replace('Split("data", inner="acme")', '__import__("pgregistry").Axis("tensor")'), optional=True)
    assert run(["check", "acme"]) == 1
    assert "is declared by" in capsys.readouterr().out
    assert run(["check", "acme", "--only", "acme,dummy"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["check", "tensr"], 1, "ConfigError: No plugin is called 'tensr'. Did you mean 'tensor'?\n"),
        (["check", "tensor", "dumy"], 1, "ConfigError: No plugin is called 'dumy'. Did you mean 'dummy'?\n"),
        (["check", "--all"], 2, "No such option"),
        (["new"], 2, "Missing argument 'NAME'"),
        (["new", "a", "b"], 2, "unexpected extra argument"),
    ],
)
def test_what_cannot_be_asked(words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == code
    out, err = capsys.readouterr()
    assert (out, says in err) == ("", True)


def test_check_needs_no_pytest() -> None:
    """As where pytest is not installed: importing it fails."""
    code = "import sys; sys.modules['pytest'] = None; from pgregistry.cli import run; sys.exit(run(['check', 'dummy']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout.count("  ok  ")) == (0, len(PROPERTIES)), done.stdout + done.stderr


# --- new --------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_new_writes_four_files_and_says_what_is_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "ring"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"pgregistry-ring/{name}" for name in FOUR]
    assert err == "\nNext: cd pgregistry-ring, pip install -e '.[test]', pytest, pgregistry check ring\n"
    written = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    assert written == sorted(out.splitlines())
    assert not [path for path in here.rglob("*") if path.is_file() and "$" in path.read_text().replace("$ ", "")]


RULES = (
    "It must start with a letter, have only lower case letters, digits and single underscores, at most 24 of them, "
    "and not be a keyword of Python."
)
NO_NAME = [*("Ring", "2d", "a-b", "a__b", "_a", "a_", "é", "", "class", "a" * 25, "../a")]


@pytest.mark.parametrize("name", NO_NAME)
def test_what_users_could_not_write_is_no_name(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", name]) == 1
    said = f"ConfigError: {name!r} cannot name a plugin, because users write it as a keyword (tensor=2). {RULES}\n"
    assert capsys.readouterr().err == said
    assert list(here.iterdir()) == []


PART = RIGHT.replace('Split("data", inner="acme")', 'Split("data", inner="ring", outer="ring_copies")')


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timeout", "'timeout' cannot name a plugin: plan() and init() have a parameter of that name."),
        ("tensor", "'tensor' is the name of a plugin of pgregistry. Choose another name."),
        ("acme", "'acme' is the name of a plugin of pgregistry-acme. Choose another name."),
        ("ring_copies", "'ring_copies' is a size of plugin 'acme', pgregistry-acme 0.1. Choose another name."),
        ("pytest", "A module pgregistry_pytest is installed already. Choose another name."),
    ],
)
def test_a_name_that_is_taken_is_refused_with_whose_it_is(
    name: str, says: str, here: Path, acme: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    acme(PART)
    assert run(["new", name]) == 1
    assert capsys.readouterr().err == f"ConfigError: {says}\n"
    assert list(here.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pgregistry-two-rings").mkdir()
    assert run(["new", "two_rings"]) == 1
    said = "ConfigError: pgregistry-two-rings exists already. Choose another name, or move the folder.\n"
    assert capsys.readouterr().err == said
    assert list((here / "pgregistry-two-rings").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "gone").mkdir()
    os.chdir(here / "gone")
    (here / "gone").rmdir()
    assert run(["new", "ring"]) == 1
    assert "pgregistry-ring/pyproject.toml cannot be written: No such file or directory." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a", "a_name_of_twenty_4_chars"])
def test_what_new_writes_is_formatted_and_linted_by_default_and_as_here(name: str, here: Path) -> None:
    assert run(["new", name]) == 0
    (project,) = here.iterdir()
    for options in (["--isolated"], ["--config", str(ROOT / "pyproject.toml")]):
        for words in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *words, "--no-cache", *options, str(project)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout


def environment(folder: Path) -> Path:
    """The Python of a new environment that also finds what is installed in this one, without a network."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    ours = sysconfig.get_path("purelib")
    Path(site, "development.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return python


def test_what_new_writes_installs_and_passes_its_tests_types_and_check_without_an_edit(
    here: Path, tmp_path: Path
) -> None:
    assert run(["new", "ring"]) == 0
    python, project = environment(tmp_path / "environment"), here / "pgregistry-ring"

    def module(*words: str, folder: Path = project) -> str:
        done = subprocess.run([python, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pip = ("pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-build-isolation", "--no-deps")
    module(*pip, "-e", ".")
    assert f"{len(PROPERTIES) + 1} passed" in module("pytest", "-q", "-p", "no:cacheprovider")
    module("mypy", str(project), folder=ROOT)  # strict, like here, with what `make lint` has cached
    assert module("pgregistry", "check", "ring").startswith("ring (pgregistry-ring 0.1.0)\n  ok ")
    plan = module("pgregistry", "plan", "8", "tensor=2", "ring=2", "--mode", "ring")
    assert "0: 0 2\n1: 1 3\n2: 4 6\n3: 5 7\n" in plan
