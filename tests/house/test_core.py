"""The core knows no plugin."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from origin import EIGHT

ROOT = Path(__file__).parents[2]


def strings(tree: ast.Module) -> set[str]:
    """All string constants that are not docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return {node.value for node in constants if isinstance(node.value, str)}


def imports(tree: ast.Module) -> set[str]:
    """All modules that are imported anywhere."""
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


SOURCES = sorted((ROOT / "pgregistry").rglob("*.py"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_core_names_no_bundled_mode_and_imports_no_plugin(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bundled = {path.stem.removeprefix("pgregistry_") for path in (ROOT / "plugins").glob("pgregistry_*")}
    assert bundled >= set(EIGHT)
    assert strings(tree) & bundled == set()
    assert {name for name in imports(tree) if name.startswith("pgregistry_")} == set()
