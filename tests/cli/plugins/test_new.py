"""`pgregistry new`: a project that installs, lints and passes its tests."""

from __future__ import annotations

import importlib.resources
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pgregistry
from pgregistry.cli import run
from pgregistry.registry.loading import HOOKS
from pgregistry.testing.properties import PROPERTIES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]


FOUR = ["pyproject.toml", "pgregistry_ring.py", "tests/test_ring.py", "README.md"]


RIGHT = """
from pgregistry import Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("acme", over=Split("data", inner="acme"))
"""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["check", "tensr"], 1, "ConfigError: No plugin is called 'tensr'. Did you mean 'tensor'?\n"),
        (["check", "tensor", "dumy"], 1, "ConfigError: No plugin is called 'dumy'. Did you mean 'dummy'?\n"),
        (["check", "--all"], 2, "No such option"),
        (["new"], 2, "Missing argument 'NAME'"),
        (["new", "a", "b"], 2, "unexpected extra argument"),
        (["new", "a", "--backend", "poetry"], 2, "'poetry' is not one of 'hatchling', 'setuptools'"),
        (["new", "a", "--axis", "--groups"], 2, "Choose one of --axis and --groups."),
    ],
)
def test_what_cannot_be_asked(words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == code
    out, err = capsys.readouterr()
    assert (out, says in err) == ("", True)


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
        ("bundled", "'bundled' cannot name a plugin: in only=, it is the plugins that ship with pgregistry."),
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


KINDS = ["split", "axis", "groups"]


def uncommented(module: str) -> str:
    """Return a module with each hook that is there as a comment, and the import that these need."""
    head, mark, hooks = module.partition("# from pgregistry import")
    lines = [line.removeprefix("#").removeprefix(" ") for line in f"{mark}{hooks}".splitlines()]
    imported, *rest = lines
    return head.replace("\nfrom pgregistry", f"\nimport click\n{imported}\nfrom pgregistry", 1) + "\n".join([*rest, ""])


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_of_each_kind_has_its_groups_and_every_hook_as_a_comment(
    kind: str, here: Path, distribution: Callable[..., Path]
) -> None:
    assert run(["new", "ring", f"--{kind}"]) == 0
    module = Path("pgregistry-ring/pgregistry_ring.py").read_text()
    tests: dict[str, Any] = {}
    exec(Path("pgregistry-ring/tests/test_ring.py").read_text(), tests)
    distribution("pgregistry-ring", {"ring": "pgregistry_ring"}, {"pgregistry_ring.py": module})
    tests["test_the_groups_are_those_of_the_table"]()
    before = pgregistry.plan(8, tensor=2)
    distribution("pgregistry-ring", {"ring": "pgregistry_ring"}, {"pgregistry_ring.py": uncommented(module)})
    assert set(re.findall(r"^def (pgregistry_\w+)", uncommented(module), re.MULTILINE)) == set(HOOKS)
    after = pgregistry.plan(8, tensor=2)
    assert [(name, after[name].groups) for name in after] == [(name, before[name].groups) for name in before]
    assert run(["ring"]) == 0


PACKED = {
    "hatchling": {
        "hatch": {"build": {"dev-mode-dirs": ["."], "targets": {"wheel": {"only-include": ["pgregistry_ring.py"]}}}}
    },
    "setuptools": {"setuptools": {"py-modules": ["pgregistry_ring"]}},
}


@pytest.mark.parametrize("backend", PACKED)
def test_the_backend_changes_what_builds_the_module_and_nothing_else(backend: str, here: Path) -> None:
    assert run(["new", "ring", "--backend", backend]) == 0
    said = tomllib.loads(Path("pgregistry-ring/pyproject.toml").read_text())
    system, tools = said.pop("build-system"), said["tool"]
    assert system["build-backend"].partition(".")[0] == backend
    assert [requirement.partition(">")[0] for requirement in system["requires"]] == [backend]
    assert {name: table for name, table in tools.items() if name not in ("mypy", "pytest")} == PACKED[backend]
    assert said["project"]["entry-points"] == {"pgregistry": {"ring": "pgregistry_ring"}}


def test_without_its_templates_new_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.resources, "files", lambda _: here)
    assert run(["new", "ring"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "ConfigError: The template pyproject.toml.in of pgregistry cannot be read: FileNotFoundError"
    )
    assert said.endswith("Run `pgregistry new` where pgregistry is installed with pip.\n")


@pytest.mark.parametrize(("name", "kind"), [("a", "split"), *(("a_name_of_twenty_4_chars", kind) for kind in KINDS)])
def test_what_new_writes_is_formatted_and_linted_by_default_and_as_here(name: str, kind: str, here: Path) -> None:
    assert run(["new", name, f"--{kind}"]) == 0
    (project,) = here.iterdir()
    for options in (["--isolated"], ["--config", str(ROOT / "pyproject.toml")]):
        for words in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *words, "--no-cache", *options, str(project)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout


def environment(folder: Path) -> Path:
    """Return the Python of a new environment that finds what is installed in this one, without a network."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    ours = sysconfig.get_path("purelib")
    Path(site, "development.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return python


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "hooks", "backend"),
    [*((kind, False, "hatchling") for kind in KINDS), ("split", True, "hatchling"), ("axis", False, "setuptools")],
)
def test_what_new_writes_installs_and_passes_its_tests_types_and_check(
    kind: str, hooks: bool, backend: str, here: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    assert run(["new", "ring", f"--{kind}", "--backend", backend]) == 0
    python, project = environment(tmp_path / "environment"), here / "pgregistry-ring"
    if hooks:
        file = project / "pgregistry_ring.py"
        file.write_text(uncommented(file.read_text()))

    def module(*words: str, folder: Path = project) -> str:
        done = subprocess.run([python, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pip = ("pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-build-isolation", "--no-deps")
    module(*pip, "-e", ".")
    assert f"{len(PROPERTIES) + 1} passed" in module("pytest", "-q", "-p", "no:cacheprovider")
    module("mypy", str(project), folder=ROOT)  # strict, like here, with what `make lint` has cached
    assert module("pgregistry", "check", "ring").startswith("ring (pgregistry-ring 0.1.0)\n  ok ")
    plan = module("pgregistry", "plan", "8", "tensor=2", *["ring=2"] * (kind != "groups"), "--mode", "ring")
    assert ("0: 0 6\n1: 1 7\n2: 2 4\n3: 3 5\n" if kind == "groups" else "0: 0 2\n1: 1 3\n2: 4 6\n3: 5 7\n") in plan
