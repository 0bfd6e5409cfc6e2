"""`pytest examples/NAME` in a checkout: distributions that are not installed are found all the same."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Before tests are collected, as those import the modules."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    distributions = importlib.import_module("distributions")
    installed = frozenset(distribution.name for distribution in importlib.metadata.distributions())
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    sys.path[:0] = distributions.place(Path(folder.name), without=installed)
