"""Promises of README, CONTRIBUTING, Makefile and constraints to somebody with a fresh clone."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT: Final = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_dependency_and_tool_has_a_pin_for_each_python() -> None:
    settings = tomllib.loads(read("pyproject.toml"))
    project, groups = settings["project"], settings["dependency-groups"]
    wanted = [
        *project["dependencies"],
        *(requirement for extra in project["optional-dependencies"].values() for requirement in extra),
        *(entry for group in groups.values() for entry in group if isinstance(entry, str)),
    ]
    pins = [Requirement(line) for line in read("constraints.txt").splitlines() if not line.startswith("#")]
    for python in ("3.10", "3.11", "3.14"):
        pinned: dict[str, list[Requirement]] = {}
        for pin in pins:
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                pinned.setdefault(canonicalize_name(pin.name), []).append(pin)
        assert [name for name, found in pinned.items() if len(found) != 1] == []
        for requirement in map(Requirement, wanted):
            (pin,) = pinned[canonicalize_name(requirement.name)]
            (version,) = pin.specifier
            assert version.operator == "=="
            assert requirement.specifier.contains(version.version), (requirement, pin)


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "RELEASING.md", ".github/workflows/ci.yml", ".ci/run"]
)
def test_the_make_targets_that_a_page_names_are_there(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|\$ |run: )make (?:PYTHON=\S+ )?([a-z][\w-]*)", read(name), re.MULTILINE))
    assert named
    assert named <= targets


def test_the_first_screen_of_the_readme_says_for_whom_it_is_and_how_to_install_it() -> None:
    lines = read("README.md").splitlines()
    assert len(lines) <= 150
    first = "\n".join(lines[:16])
    for words in (
        "pgregistry is for",
        "wrong sums or a hang",
        "`init_device_mesh` alone does not",
        "$ pip install pgregistry",
    ):
        assert words in first
