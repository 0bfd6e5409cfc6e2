"""Fixtures for all tests: a clean environment; the others are those of the pytest plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import environment
import pytest
import ranks

from pgregistry.testing import LocalRanks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the examples that show what ranks print, if the gloo of this torch prints too."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and item.name.startswith("pgregistry.testing.ranks."):
            import needs  # only here, for it imports torch, which most tests can do without

            item.add_marker(needs.QUIET)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.set_by_launchers():
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_modules_of_other_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the modules that a test wrote and imported: another test may write one of the same name."""
    before = set(sys.modules)
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]


@pytest.fixture(scope="session", autouse=True)
def _end_of_ranks() -> Iterator[None]:
    yield
    if ranks.local_ranks.cache_info().currsize:
        ranks.local_ranks().close()


@pytest.fixture(scope="session")
def local_ranks() -> LocalRanks:
    """Return the one process of ranks, for tests that use the fixture `run_ranks` and for those that import it."""
    return ranks.local_ranks()


@pytest.fixture
def distribution(installed_plugin: Callable[..., Path]) -> Callable[..., Path]:
    """Install a distribution for one test, as any author of a plugin would."""
    return installed_plugin


@pytest.fixture
def acme(installed_plugin: Callable[..., Path]) -> Callable[..., Path]:
    """Install the distribution pgregistry-acme with one plugin of this source."""

    def install(source: str, name: str = "acme", attribute: str = "", **keywords: Any) -> Path:
        point = {name: f"acme_plugin{attribute}"}
        return installed_plugin("pgregistry-acme", point, {"acme_plugin.py": source}, **keywords)

    return install


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    """Write a TOML file; return its path."""

    def write(text: str) -> str:
        file = tmp_path / "run.toml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write
