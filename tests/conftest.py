"""Fixtures for all tests: a clean environment, and distributions that exist only as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

#: What launchers and users set and pgregistry or torch would read.
ENVIRONMENT = (
    *("PGREGISTRY", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_RANK", "ROLE_", "MASTER_", "TORCHELASTIC_"),
    *("SLURM_", "OMPI_", "PMI_", "PMIX_", "MPI_", "NODE_RANK", "HYDRA_"),
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(ENVIRONMENT):
            monkeypatch.delenv(name)


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install a distribution for one test: files in a folder on sys.path, found like any other.

    `distribution("pgregistry-context", {"context": "pgregistry_context"}, {"pgregistry_context.py": SOURCE})`
    """
    modules: list[str] = []

    def install(
        name: str,
        entry_points: Mapping[str, str],
        files: Mapping[str, str],
        version: str = "0.1",
        optional: bool = False,
    ) -> Path:
        folder = tmp_path / f"site-{len(list(tmp_path.iterdir()))}-{name}"
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        group = "pgregistry.optional" if optional else "pgregistry"
        lines = [f"[{group}]", *(f"{key} = {value}" for key, value in entry_points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for file, source in files.items():
            (folder / file).write_text(source, encoding="utf-8")
            modules.append(Path(file).stem)
        monkeypatch.syspath_prepend(folder)
        return folder

    yield install
    for module in modules:
        sys.modules.pop(module, None)
