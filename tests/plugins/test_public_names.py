"""Bundled plugins are written as a third party's: they import public names of pgregistry, and nothing else of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from public_names import not_public

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize("file", sorted(PLUGINS.rglob("*.py")), ids=lambda file: str(file.relative_to(PLUGINS)))
def test_a_bundled_plugin_uses_public_names_only(file: Path) -> None:
    package = file.relative_to(PLUGINS).parts[0].removesuffix(".py")
    assert list(not_public(file.read_text(encoding="utf-8"), package)) == []


def test_all_files_of_all_plugins_are_looked_at() -> None:
    found = {str(file.relative_to(PLUGINS)) for file in PLUGINS.rglob("*.py")}
    assert {"pgregistry_data.py", "pgregistry_nettest/session.py", "pgregistry_nettest/analysis/verdict.py"} <= found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from pgregistry import Mode, hookimpl\nfrom pgregistry.testing import launch_ranks", []),
        ("from pgregistry.cli.options import say", ["pgregistry.cli.options say"]),
        ("import pgregistry.errors", ["pgregistry.errors"]),
        ("from pgregistry import errors", ["pgregistry errors"]),
        ("import pgregistry\npgregistry.errors.listing([])", ["pgregistry errors"]),
        ("def f():\n    from pgregistry.views import tables", ["pgregistry.views tables"]),
        ("import numpy", ["numpy"]),
        ("import pgregistry_acme.b, pgregistry_other", ["pgregistry_other"]),
    ],
)
def test_what_is_not_public_is_found(source: str, found: list[str]) -> None:
    assert list(not_public(source, "pgregistry_acme")) == found


@pytest.mark.parametrize("file", sorted(PLUGINS.glob("*.py")), ids=lambda file: file.stem)
def test_a_module_of_one_mode_needs_pgregistry_alone(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} == {
        "collections.abc",
        "pgregistry",
    }


def test_the_network_test_is_imported_without_torch_click_rich_and_matplotlib() -> None:
    script = "import sys, pgregistry_nettest; print({'torch', 'click', 'rich', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "file", sorted((PLUGINS / "pgregistry_nettest" / "analysis").glob("*.py")), ids=lambda file: file.stem
)
def test_the_analysis_of_a_network_test_needs_no_torch_and_nothing_above_it(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    others = {name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in others if not name.startswith("pgregistry_nettest.analysis.")} <= {"pgregistry"}
