"""Let `pytest examples/NAME` find the distributions of a checkout without installing them."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Tests import the modules while they are collected.
sys.path += [str(HERE.parent / "tests" / "helpers")]
sys.path += [*(str(path.parent) for path in sorted(HERE.glob("*/pyproject.toml")))]


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the plugins available to these tests, and not to others of the same session."""
    before, there = list(sys.path), {distribution.name for distribution in importlib.metadata.distributions()}
    distributions = importlib.import_module("distributions")
    sys.path[:0] = distributions.place(tmp_path_factory.mktemp("metadata"), without=frozenset(there))
    yield
    sys.path[:] = before
