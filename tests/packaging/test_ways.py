"""Ways to pack pgregistry and plugins: the lines of docs/packaging.md, on real wheels; layouts of Bazel and Nix."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from documents import ROOT, blocks, commands, files, sections

import pgregistry
from pgregistry.testing import write_distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = "docs/packaging.md"
#: This checkout, for a process that has the Python of the tests.
OURS = (ROOT, ROOT / "plugins")
RING = """
from pgregistry import Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode("ring", over=Split("data", inner="ring"))
"""


def projects() -> dict[str, str]:
    """Return each pyproject.toml of the page by the first word of its backend."""
    shown = [block for block in blocks(sections(PAGE)["The entry point"], "toml") if "[build-system]" in block]
    return {tomllib.loads(block)["build-system"]["build-backend"].partition(".")[0]: block for block in shown}


def outside() -> dict[str, str]:
    """Return the environment variables of somebody who has no checkout of pgregistry."""
    ours = ("PYTHON", "PYTEST", "COV", "PGREGISTRY", "RES_OPTIONS", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def run(*command: str | Path, folder: Path, environ: dict[str, str], seconds: float = 200) -> str:
    """Run a command; return what it prints, and fail if it fails."""
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Desk:
    """A folder, and an environment in which wheels of pgregistry and ring can be installed."""

    def __init__(self, folder: Path, environment: Path, wheels: Path) -> None:
        self.folder = folder
        self.python = environment / "bin" / "python"
        path = [folder / "bin", environment / "bin", os.environ["PATH"]]  # what uv installs comes first
        self.environ = {
            **outside(),
            "PATH": os.pathsep.join(map(str, path)),
            "PIP_FIND_LINKS": " ".join(filter(None, (os.environ.get("PIP_FIND_LINKS"), str(wheels)))),
            "UV_FIND_LINKS": str(wheels),
            "UV_PYTHON_DOWNLOADS": "never",
            **{name: str(folder / name.lower()) for name in ("SHIV_ROOT", "PEX_ROOT", "UV_TOOL_DIR", "UV_CACHE_DIR")},
            "UV_TOOL_BIN_DIR": str(folder / "bin"),
        }

    def needs(self, *requirements: str) -> None:
        """Install into the environment, or skip the test."""
        for words in (requirements, ("--no-deps", "pgregistry", "pgregistry-ring")):
            command = [self.python, "-m", "pip", "install", "-q", *words]
            environ = {**self.environ, "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "30"}
            done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200)
            if done.returncode:
                pytest.skip(f"pip cannot install {' '.join(words)} here: {done.stderr.strip().splitlines()[-1]}")

    def type(self, command: str) -> str:
        """Run a line of the page in a shell."""
        return run("bash", "-c", command, folder=self.folder, environ=self.environ)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels of pgregistry and of the plugin ring."""
    folder = tmp_path_factory.mktemp("wheels")
    project = tmp_path_factory.mktemp("ring")
    (project / "pyproject.toml").write_text(projects()["hatchling"], encoding="utf-8")
    (project / "pgregistry_ring.py").write_text(RING, encoding="utf-8")
    for source in (ROOT, project):
        build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
        run(sys.executable, *build, folder=source, environ=outside())
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment for all these tests."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", ".", folder=folder, environ=outside())
    return folder


@pytest.fixture
def desk(environment: Path, wheels: Path, tmp_path: Path) -> Desk:
    return Desk(tmp_path, environment, wheels)


PLANNING = ("click", "packaging", "pluggy", "rich", "tomli; python_version < '3.11'")


def lines(title: str) -> list[str]:
    return [command for command, _ in commands(sections(PAGE)[title])]


def of_tool(word: str) -> list[str]:
    """Return the lines that make one file with a tool, after those that fill the folder."""
    typed = lines("One file")
    first = next(number for number, line in enumerate(typed) if word in line)
    return [*typed[:2], *typed[first : first + 2]]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("tool", ["zipapp", "shiv", "pex"])
def test_one_file_plans_lists_its_plugins_and_writes_projects(tool: str, desk: Desk) -> None:
    desk.needs(*PLANNING, *([] if tool == "zipapp" else [tool]))
    for line in of_tool(f"{tool} "):
        printed = desk.type(line)
    assert "ring      ring" in printed
    program = line.split()[0]
    rows = json.loads(desk.type(f"{program} plugins --json"))
    assert {row["name"]: row["status"] for row in rows}["ring"] == "active"
    desk.type(f"{program} new loop")
    assert (desk.folder / "pgregistry-loop/pgregistry_loop.py").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_uv_installs_the_command_and_runs_a_script_with_plugins(desk: Desk) -> None:
    desk.needs("uv")
    (script,) = blocks(sections(PAGE)["A tool, and a script with its dependencies"], "python")
    (desk.folder / "sizes.py").write_text(script, encoding="utf-8")
    printed = [desk.type(line) for line in lines("A tool, and a script with its dependencies")]
    assert "ring      ring" in printed[2]
    assert printed[3] == "(0, 1)\n"
    rows = json.loads(desk.type("pgregistry plugins --json"))
    assert {Path(row["path"]).is_relative_to(desk.folder / "uv_tool_dir") for row in rows} == {True}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_frozen_program_has_the_plugins_their_metadata_and_the_templates(desk: Desk) -> None:
    desk.needs(*PLANNING, "pyinstaller")
    program, *_ = (line.split()[0] for line in lines("PyInstaller")[2:])
    for line in lines("PyInstaller"):
        printed = desk.type(line)
    assert "ring      ring" in printed
    told = {row["name"]: row for row in json.loads(desk.type(f"{program} plugins --json"))}
    assert {name for name, row in told.items() if row["status"] == "disabled"} == {"hsdp"}
    assert told["hsdp"]["reason"].startswith("off until enabled")
    assert "shard" in desk.type(f"{program} plan 8 --enable hsdp --ranks-per-host 4")
    desk.type(f"{program} new loop")
    assert desk.type(f"{program} --version").startswith("pgregistry 0.")
    checked = desk.type(f"{program} check ring")
    assert checked.count("  —  ") == 3
    assert checked.endswith("\nevery property that was tried holds: 1 plugin\n")


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("backend", sorted(projects()))
def test_what_a_backend_builds_has_the_module_and_the_entry_point(backend: str, desk: Desk) -> None:
    shown = tomllib.loads(projects()[backend])
    desk.needs(*shown["build-system"]["requires"], "build", "wheel")  # an old setuptools asks for wheel
    project = desk.folder / "project"
    source = project / (
        "src/pgregistry_ring/__init__.py" if backend in ("poetry", "uv_build") else "pgregistry_ring.py"
    )
    source.parent.mkdir(parents=True)
    source.write_text(RING, encoding="utf-8")
    (project / "pyproject.toml").write_text(projects()[backend], encoding="utf-8")
    desk.type("python -m build --no-isolation --wheel --outdir built project")
    (wheel,) = (desk.folder / "built").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(desk.folder / "site")
    (points,) = (desk.folder / "site").glob("*/entry_points.txt")
    assert "[pgregistry]\nring" in points.read_text().replace("\r", "")
    ours = os.pathsep.join(map(str, (desk.folder / "site", *OURS)))
    script = "import pgregistry; print(pgregistry.plan(4, ring=2)['ring'].groups[0])"
    printed = run(sys.executable, "-c", script, folder=desk.folder, environ={**desk.environ, "PYTHONPATH": ours})
    assert printed == "(0, 1)\n"


def test_the_page_has_the_four_backends_and_the_group_with_its_quotes() -> None:
    assert set(projects()) == {"hatchling", "setuptools", "poetry", "uv_build"}
    said = [tomllib.loads(block)["project"] for block in projects().values()]
    assert all(one["entry-points"] == {"pgregistry": {"ring": "pgregistry_ring"}} for one in said)
    shown = blocks(sections(PAGE)["The entry point"], "toml")[-1]
    assert tomllib.loads(shown)["project"]["entry-points"] == {"pgregistry.optional": {"ring": "pgregistry_ring"}}


def install(title: str, distribution: Callable[..., Path]) -> None:
    """Install the plugin of a section with the entry point that it shows."""
    text = sections(PAGE)[title]
    (points,) = (tomllib.loads(block)["project"]["entry-points"]["pgregistry"] for block in blocks(text, "toml"))
    distribution("pgregistry-ring", points, files(text, "python"))


def test_the_plugin_that_is_an_object_is_one(distribution: Callable[..., Path]) -> None:
    install("A plugin that is an object", distribution)
    assert list(pgregistry.plan(4, ring=2)["ring"].groups) == [(0, 1), (2, 3)]


def test_the_replacement_of_a_bundled_mode_takes_its_place(
    distribution: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from pgregistry.cli import run as run_words

    install("Replacing a bundled mode", distribution)
    (line,) = lines("Replacing a bundled mode")
    assert run_words(line.split()[1:]) == 0
    assert "fast_tensor" in capsys.readouterr().out
    assert pgregistry.plan(8, tensor=2, disable=["tensor"])["tensor"].timeout == 60


@pytest.mark.parametrize("links", [False, True], ids=["folders", "links to files that are read-only"])
def test_a_path_entry_for_each_distribution_finds_all_plugins(links: bool, tmp_path: Path) -> None:
    """Bazel and Nix lay distributions out like this, with links, without RECORD, and read-only."""
    points = {name: f"pgregistry_{name}" for name in ("data", "tensor")}
    folders = [write_distribution(tmp_path / "store" / "core", "pgregistry", points, {})]
    for name in ("ring", "loop", "hoop"):
        source = {f"pgregistry_{name}.py": RING.replace("ring", name)}
        folders.append(
            write_distribution(tmp_path / "store" / name, f"pgregistry-{name}", {name: f"pgregistry_{name}"}, source)
        )
    if links:
        for file in (tmp_path / "store").rglob("*.*"):
            if file.is_file():
                file.chmod(stat.S_IREAD)
        shutil.copytree(tmp_path / "store", tmp_path / "runfiles", copy_function=os.symlink)
        folders = [tmp_path / "runfiles" / folder.name for folder in folders]
    assert not list(tmp_path.rglob("RECORD"))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, *OURS]))}
    script = "import pgregistry; print(*pgregistry.plan(8, ring=2, loop=2, only=['bundled', 'ring', 'loop']).modes)"
    assert run(sys.executable, "-c", script, folder=tmp_path, environ=environ) == "data loop ring tensor\n"
