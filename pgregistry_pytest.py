"""The pytest plugin of pgregistry: fixtures for authors of plugins.

Pytest loads it in every run. It is outside the package so that nothing of pgregistry is imported until
a test uses one of these fixtures.
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
    """Return a function that installs a distribution for one test: files in a folder on `sys.path`.

    `installed_plugin("pgregistry-x", {"x": "pgregistry_x"}, {"pgregistry_x.py": SOURCE})`
    returns the folder; its plugins are found like any others. With `optional=True` the plugin is off until enabled.
    """
    from pgregistry.testing import write_distribution

    modules: set[str] = set()

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in modules]:
            del sys.modules[name]

    def install(name: str, entry_points: Mapping[str, str], files: Mapping[str, str], **options: Any) -> Path:
        folder = tmp_path / f"site-{len(list(tmp_path.iterdir()))}-{name}"
        write_distribution(folder, name, entry_points, files, **options)
        modules.update(Path(file).parts[0].removesuffix(".py") for file in files)
        forget()
        monkeypatch.syspath_prepend(folder)
        return folder

    yield install
    forget()


@pytest.fixture(scope="session")
def local_ranks() -> Iterator[LocalRanks]:
    """Yield the process that local ranks are forked from; it imports torch at its first run."""
    from pgregistry.testing import LocalRanks

    with LocalRanks() as ranks:
        yield ranks


@pytest.fixture
def run_ranks(local_ranks: LocalRanks) -> Callable[..., list[Any]]:
    """Return `run_ranks(count, function)`, which calls a function on real gloo processes of this machine.

    It is `pgregistry.testing.LocalRanks.run`, and takes the same arguments.
    """
    return local_ranks.run


@pytest.fixture(scope="class")
def conformance(request: pytest.FixtureRequest, local_ranks: LocalRanks) -> Subject:
    """Return the plugin that a subclass of `PluginConformance` tests."""
    subject: Subject = request.cls.subject(local_ranks.run)
    return subject
