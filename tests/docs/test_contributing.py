"""The patch in CONTRIBUTING.md adds a mode, and is all that it takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from documents import ROOT, blocks, read
from origin import EIGHT

import pgregistry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def patched(folder: Path) -> Path:
    """Copy the repository and return the copy, to which the patch in CONTRIBUTING.md is applied."""
    (patch,) = blocks(read("CONTRIBUTING.md"), "diff")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)  # in a folder of another repository it applies nothing

    def apply(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "apply", *options, "-"]
        return subprocess.run(command, input=patch, cwd=folder, env=environment, capture_output=True, text=True)

    if (folder / "plugins" / "pgregistry_sharding.py").exists():  # somebody has followed CONTRIBUTING.md
        assert apply("--reverse").returncode == 0
    done = apply()
    assert done.returncode == 0, done.stderr
    return folder


def installed(folder: Path, site: Path) -> Mapping[str, str]:
    """Return the environment of a process that finds a copy and its entry points instead of this checkout."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"pgregistry-{project['version']}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: pgregistry\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = [f"{name} = {module}" for name, module in project["entry-points"]["pgregistry"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pgregistry]", *points, ""]), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (site, folder, folder / "plugins")))}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_patch_that_adds_a_mode_is_all_that_it_takes(tmp_path: Path) -> None:
    folder = patched(tmp_path / "copy")
    environment = installed(folder, tmp_path / "site")

    def python(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = json.loads(python("pgregistry", "plan", "8", "tensor=2", "sharding=2", "--json"))
    groups = {mode["name"]: mode["groups"] for mode in shown["modes"]}
    assert set(groups) - set(EIGHT) >= {"sharding"}
    assert groups["sharding"] == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert shown["modes"][0]["distribution"] == "pgregistry"
    same = pgregistry.plan(8, tensor=2, only=EIGHT)
    assert {name: groups[name] for name in EIGHT} == {name: list(map(list, same[name].groups)) for name in EIGHT}
    added = "plugins/pgregistry_sharding.py", "tests/plugins/test_sharding.py"
    python("ruff", "check", "--no-cache", *added)
    python("ruff", "format", "--no-cache", "--check", *added)
    index = "tests/docs/test_pages.py::test_every_bundled_mode_is_in_the_index_with_its_groups"
    assert " passed" in python("pytest", "-q", "-p", "no:cacheprovider", "tests/plugins/test_sharding.py", index)
