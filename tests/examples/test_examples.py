"""The examples work for a stranger: installed beside pgregistry's own wheel, without this checkout, and gone again.

Any `examples/NAME/` with a pyproject.toml is tried: built as a wheel, installed with pip into an environment of
its own, tested there, uninstalled. Torch and all else are those of this environment, linked one by one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
LEAVE_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")


def run(command: Sequence[str | Path], folder: Path, seconds: float = 100) -> str:
    """Run a command without this checkout on its path, and return what it prints; fail if it fails."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "COV"))}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(source: Path, folder: Path) -> Path:
    """Return the wheel of a copy of a project, built without isolation, so without the network."""
    copy = folder / "source"
    shutil.copytree(source, copy, ignore=LEAVE_OUT)
    run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder], copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of pgregistry."""
    return build(ROOT, tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is installed here but pgregistry and what its editable install left."""
    folder = tmp_path_factory.mktemp("others")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "pgregistry" not in path.name and path.suffix != ".pth" and path.name != "__pycache__":
            (folder / path.name).symlink_to(path)
    return folder


class Environment:
    """A clean environment: its Python, and where its distributions are."""

    def __init__(self, folder: Path, others: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.site = Path(
            run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
        )
        (self.site / "others.pth").write_text(f"{others}\n", encoding="utf-8")
        self.folder = folder

    def pip(self, *words: str | Path) -> None:
        run([sys.executable, "-m", "pip", "--python", self.python, "-q", *words], self.folder)

    def install(self, *wheels: Path) -> None:
        self.pip("install", "--no-index", "--no-deps", "--no-compile", *wheels)

    def plugins(self) -> dict[str, dict[str, Any]]:
        """Return the plugins that the installed command lists, without the time that their imports took."""
        told = json.loads(run([self.python.parent / "pgregistry", "plugins", "--json"], self.folder))
        return {row.pop("name"): {key: row[key] for key in row if key != "import_seconds"} for row in told}

    def holds(self, wheel: Path) -> bool:
        """Return True if all files of a wheel are there as it has them, and the core has no others."""
        with zipfile.ZipFile(wheel) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}
        here = [path for path in (self.site / "pgregistry").rglob("*") if path.is_file() and path.suffix != ".pyc"]
        more = {str(path.relative_to(self.site)) for path in here} - files.keys()
        return not more and all((self.site / name).read_bytes() == content for name, content in files.items())


@pytest.fixture(scope="session")
def environment(core: Path, others: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One for all examples, which come and go in it."""
    made = Environment(tmp_path_factory.mktemp("env"), others)
    made.install(core)
    return made


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_installed_passes_its_tests_and_is_uninstalled_and_the_core_stays_as_it_is(
    example: Path, core: Path, environment: Environment, tmp_path: Path
) -> None:
    project = tomllib.loads((example / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["entry-points"].items()
    declared = {name for group, points in groups if group.startswith("pgregistry") for name in points}
    wheel = build(example, tmp_path)
    before = environment.plugins()
    try:
        environment.install(wheel)
        with_it = environment.plugins()
        assert with_it.keys() - before.keys() == declared
        assert {with_it[name]["distribution"] for name in declared} == {project["name"]}
        assert {name: row for name, row in with_it.items() if name not in declared} == before
        tests = [environment.python, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        assert " passed" in run(tests, tmp_path / "source", 110)
        assert environment.holds(core)
    finally:
        environment.pip("uninstall", "-y", project["name"])
    assert environment.plugins() == before
    assert environment.holds(core)


@pytest.mark.slow
def test_the_environment_of_the_examples_has_the_wheel_and_not_this_checkout(environment: Environment) -> None:
    script = (
        "import importlib.metadata, json, sys, pgregistry, pgregistry_tensor, pytest, torch; "
        "print(json.dumps([pgregistry.__file__, pgregistry_tensor.__file__, sys.path, "
        "[str(one.locate_file('')) for one in importlib.metadata.distributions(name='pgregistry')]]))"
    )
    core, plugin, path, found = json.loads(run([environment.python, "-I", "-c", script], environment.folder))
    assert Path(core).parent.parent == Path(plugin).parent == environment.site
    assert found == [str(environment.site)]
    assert not [entry for entry in path if Path(entry).is_relative_to(ROOT)]
