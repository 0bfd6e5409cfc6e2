"""The pytest plugin of pgregistry: fixtures for authors of plugins.

It is outside the package, so that pytest, which loads it in every run, imports nothing of pgregistry
until a test asks for one of these fixtures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pgregistry.testing import LocalRanks
    from pgregistry.testing.subject import Subject


@pytest.fixture
def installed_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install a distribution for one test: files in a folder on sys.path, found like any other.

    `installed_plugin("pgregistry-x", {"x": "pgregistry_x"}, {"pgregistry_x.py": SOURCE})`
    returns the folder. With `optional=True` the plugin is off until enabled.
    """
    from pgregistry.testing import write_distribution

    modules: set[str] = set()

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in modules]:
            del sys.modules[name]

    def install(
        name: str,
        entry_points: Mapping[str, str],
        files: Mapping[str, str],
        version: str = "0.1",
        optional: bool = False,
    ) -> Path:
        folder = tmp_path / f"site-{len(list(tmp_path.iterdir()))}-{name}"
        write_distribution(folder, name, entry_points, files, version, optional)
        modules.update(Path(file).parts[0].removesuffix(".py") for file in files)
        forget()
        monkeypatch.syspath_prepend(folder)
        return folder

    yield install
    forget()


@pytest.fixture(scope="session")
def local_ranks() -> Iterator[LocalRanks]:
    """The process that ranks are forked from; it imports torch when it is first needed."""
    from pgregistry.testing import LocalRanks

    with LocalRanks() as ranks:
        yield ranks


@pytest.fixture
def run_ranks(local_ranks: LocalRanks) -> Callable[..., list[Any]]:
    """Run a function on real gloo processes of this machine: `run_ranks(4, function)`.

    See `pgregistry.testing.LocalRanks.run` for what else it takes.
    """
    return local_ranks.run


@pytest.fixture(scope="class")
def conformance(request: pytest.FixtureRequest, local_ranks: LocalRanks) -> Subject:
    """The plugin that a subclass of `PluginConformance` is about."""
    subject: Subject = request.cls.subject(local_ranks.run)
    return subject
