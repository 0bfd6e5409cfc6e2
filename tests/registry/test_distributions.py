"""Distributions are those that importlib finds, whatever is wrong with some of them, with one listing and one open."""

from __future__ import annotations

import builtins
import importlib.metadata
import os
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import GOOD
from random_trees import check_tree, compare

from pgregistry.registry.discovery import discover
from pgregistry.registry.distributions import InstalledDistribution, core_version
from pgregistry.testing import write_distribution

SEEDS = [*range(40), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 800))]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="importlib of 3.10 does not normalize the names of folders")
@pytest.mark.parametrize("seed", SEEDS)
def test_random_trees_hold_what_importlib_finds(seed: int, tmp_path: Path) -> None:
    check_tree(seed, tmp_path)


def test_what_is_installed_here_is_what_importlib_finds() -> None:
    compare()


class Finder:
    """A finder of somebody's, as the backport of importlib has one."""

    def __init__(self, *found: Any) -> None:
        self.found = found

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: object) -> Iterator[Any]:
        for one in self.found:
            if isinstance(one, BaseException):
                raise one
            yield one


class Ring(Distribution):
    def __init__(self, text: str | BaseException | None, metadata: str | None = "Name: pgregistry-ring\nVersion: 7\n"):
        self.text, self.header = text, metadata

    def read_text(self, filename: str) -> str | None:
        if isinstance(self.text, BaseException):
            raise self.text
        return self.text if filename == "entry_points.txt" else self.header if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return Path("/nowhere", path)


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(3)], ids=repr)
def test_finders_of_others_are_asked_and_may_fail(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [str(one) for one in discover()]
    good = Ring("[pgregistry]\nring = pgregistry_ring\n")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(good, error)])
    found = {one.plugin.name: one for one in discover()}
    assert str(found["ring"]) == "plugin 'ring', pgregistry-ring 7 (entry point pgregistry: ring = pgregistry_ring)"
    assert len(found) == len(before) + 1
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:-1], Finder(Ring(error)), Finder(Ring(None, None))])
    assert [str(one) for one in discover()] == before


def test_a_distribution_without_a_header_has_the_name_of_its_folder_to_be_told_by(tmp_path: Path) -> None:
    info = tmp_path / "Pgregistry.Ring-0.1.dist-info"
    info.mkdir()
    one = InstalledDistribution(str(info), None)
    assert (one.name, one.version, one.info_name, one.folder) == ("unknown", "unknown", info.name, str(tmp_path))


def test_a_distribution_in_a_zip_file_is_told_by_a_path_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "ring.whl", "w") as packed:
        packed.writestr("ring-1.dist-info/entry_points.txt", b"[pgregistry]\nring = ring\n# caf\xe9\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "ring.whl")])
    (found,) = discover()
    path = tmp_path / "ring.whl" / "ring-1.dist-info" / "entry_points.txt"
    assert f"{found.broken}".startswith(f"cannot be read: {path}: UnicodeDecodeError")


def test_a_folder_is_listed_once_and_of_a_distribution_one_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        write_distribution(tmp_path / "a", f"other-{number}", {}, {})
    write_distribution(tmp_path / "a", "pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": GOOD})
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a")])
    calls = {"listdir": list[str](), "open": list[str]()}
    for module, (name, made) in zip((os, builtins), calls.items(), strict=True):
        real = getattr(module, name)

        def counted(path: str, *rest: Any, real: Any = real, made: list[str] = made, **more: Any) -> Any:
            made.append(str(path))
            return real(path, *rest, **more)

        monkeypatch.setattr(module, name, counted)
    assert [one.plugin.name for one in discover()] == ["acme"]
    assert calls["listdir"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert len(calls["open"]) == 10 + 1
    assert [path for path in calls["open"] if not path.endswith("entry_points.txt")] == [
        str(tmp_path / "a" / "pgregistry_acme-0.1.dist-info" / "METADATA")
    ]


def test_the_version_of_the_core_is_that_of_its_metadata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert core_version() == importlib.metadata.version("pgregistry")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert core_version() == "unknown"
