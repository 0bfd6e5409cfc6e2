"""Distributions are those that importlib finds, whatever is wrong with some of them, with one listing and one open."""

from __future__ import annotations

import email
import importlib.metadata
import os
import random
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import GOOD

from pgregistry.registry.discovery import GROUPS, discover
from pgregistry.registry.distributions import InstalledDistribution, core_version, distributions, visible
from pgregistry.testing import write_distribution

NAMES = ["ring", "Ring", "my.ring", "my_ring", "my__ring", "pgregistry_acme", "Pgregistry.Acme", "acme", "", "."]
POINTS: list[bytes | str | None] = [
    None,
    b"",
    b"[pgregistry]\nring = pgregistry_ring\n",
    b"[pgregistry]\r\nring = pgregistry_ring:plugin\r\n[pgregistry.optional]\r\nfar = far\r\n",
    b"[pgregistry]\nring = a\nring = a\n",
    b"# pgregistry\n[console_scripts]\nring = ring:main\n",
    b"[console_scripts]\nring = ring:main\n",
    b"[pgregistry]\nring = a\n[other]\nno equals sign\n",
    b"[pgregistry]\nring = a\n# caf\xe9\n",
    b"[other]\n# caf\xe9\n",
    b"\xef\xbb\xbf[pgregistry]\nring = a\n",
    b"[pgregistry.plugins]\nring = a\n",
    b"before = a section\n[pgregistry]\n  ring   =   a  \n",
    "directory",
    "loop",
    "nowhere",
]
METADATA: list[bytes | None] = [
    None,
    b"",
    b"Metadata-Version: 2.1\nName: Some-Ring\nVersion: 1.5\nRequires-Dist: torch\n\nName: another\n",
    b"metadata-version: 2.1\r\nname: Some.Ring\r\nversion: 1.5\r\n\r\ntext",
    b"Version: 2\n",
    b"Name: nameless-version\n",
    b"Name: caf\xe9\nVersion: 1\n\n",
    b"Summary: folded\n  Name: wrong\nName: right\nVersion: 3\nName: second\n",
    b"not a header\nName: body\n",
]


def write(info: Path, points: bytes | str | None, metadata: bytes | None, file: str) -> None:
    info.mkdir(parents=True)
    where = info / "entry_points.txt"
    if points == "directory":
        where.mkdir()
    elif isinstance(points, str):
        where.symlink_to(where if points == "loop" else "nowhere-at-all")
    elif points is not None:
        where.write_bytes(points)
    if metadata is not None:
        (info / file).write_bytes(metadata)


def grow(chance: random.Random, folder: Path) -> list[str]:
    """Write path entries with all kinds of distributions, and return them, some of them twice."""
    entries = []
    for number in range(chance.randint(1, 4)):
        kind = chance.choice(["folder", "folder", "folder", "zip", "egg", "egg-file", "nowhere", "file"])
        entry = folder / f"{number}-{kind}{'.egg' if kind == 'egg' else ''}"
        entries += [str(entry)] * chance.choice([1, 1, 2])
        if kind in ("nowhere", "file"):
            entry.write_text("no archive") if kind == "file" else None
            continue
        entry.mkdir()
        if kind == "egg":
            write(entry / "EGG-INFO", chance.choice(POINTS), chance.choice(METADATA), "PKG-INFO")
        if kind == "egg-file":
            (entry / "ring-1.egg-info").write_bytes(chance.choice(METADATA) or b"")
        for _ in range(chance.randint(0, 7)):
            name = chance.choice(NAMES)
            suffix = chance.choice([".dist-info", ".dist-info", ".egg-info", ".DIST-INFO"])
            info = entry / f"{name}{chance.choice(['', '-1', '-2.0'])}{suffix}"
            if not info.exists():
                write(info, chance.choice(POINTS), chance.choice(METADATA), chance.choice(["METADATA", "PKG-INFO"]))
        if kind == "zip":
            with zipfile.ZipFile(archive := entry.with_suffix(".pyz"), "w") as packed:
                for path in sorted(entry.rglob("*")):
                    if path.is_file():
                        packed.write(path, path.relative_to(entry))
            entries[-1] = str(archive)
    return entries


def as_importlib_finds_them() -> Iterator[Distribution]:
    """Yield the first distribution of each name, as `entry_points` does, which ends at the first without a name."""
    seen = set[str]()
    for one in importlib.metadata.distributions():
        try:
            name = one._normalized_name  # type: ignore[attr-defined]
        except UnicodeDecodeError:
            name = "caf?"  # one of METADATA; it cannot be read any better
        except Exception:
            name = place(one)
        if name not in seen:
            seen.add(name)
            yield one


def place(one: Any) -> str:
    return os.path.abspath(str(one._path))


def header(one: Distribution) -> tuple[str, str] | None:
    """Return the name and version as the e-mail parser has them, None if they cannot be decoded."""
    try:
        text = one.read_text("METADATA") or one.read_text("PKG-INFO") or one.read_text("") or ""
    except UnicodeDecodeError:
        return None
    message = email.message_from_string(text)
    return message.get("Name", "unknown"), message.get("Version", "unknown")


def compare() -> None:
    theirs, broken = list[tuple[str, ...]](), set[str]()
    headers = {}
    for one in as_importlib_finds_them():
        headers[place(one)] = header(one)
        try:
            points = [point for point in one.entry_points if point.group in GROUPS]
        except Exception:
            broken.add(place(one))
            continue
        theirs += [(place(one), point.group, point.name, point.value) for point in points]
    ours, refused = list[tuple[str, ...]](), set[str]()
    for found in discover():
        assert found.distribution is not None
        if found.entry_point is None:
            refused.add(os.path.abspath(found.distribution.info))
        else:
            point = found.entry_point
            ours.append((os.path.abspath(found.distribution.info), point.group, point.name, point.value))
    assert sorted(ours) == sorted(theirs)
    assert sorted(os.path.abspath(one.info) for one in visible(distributions())) == sorted(headers)
    mentioning = {path for path in broken if _mentions(path)}
    assert mentioning <= refused
    for mine in visible(distributions()):
        expected = headers[os.path.abspath(mine.info)]
        assert expected is None or (mine.name, mine.version) == expected


def _mentions(path: str) -> bool:
    """Return True if an entry_points.txt in a folder can be read and has our name."""
    try:
        return b"pgregistry" in Path(path, "entry_points.txt").read_bytes()
    except OSError:
        return False


SEEDS = [*range(40), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 800))]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="importlib of 3.10 does not normalize the names of folders")
@pytest.mark.parametrize("seed", SEEDS)
def test_random_trees_hold_what_importlib_finds(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", grow(random.Random(seed), tmp_path))
    compare()


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
    def __init__(self, text: str | Exception | None, metadata: str | None = "Name: pgregistry-ring\nVersion: 7\n"):
        self.text, self.header = text, metadata

    def read_text(self, filename: str) -> str | None:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text if filename == "entry_points.txt" else self.header if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return Path("/nowhere", path)


def test_finders_of_others_are_asked_and_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [str(one) for one in discover()]
    good = Ring("[pgregistry]\nring = pgregistry_ring\n")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(good, OSError("gone"))])
    found = {one.plugin.name: one for one in discover()}
    assert str(found["ring"]) == "plugin 'ring', pgregistry-ring 7 (entry point pgregistry: ring = pgregistry_ring)"
    assert len(found) == len(before) + 1
    monkeypatch.setattr(
        sys, "meta_path", [*sys.meta_path[:-1], Finder(Ring(OSError("no disk"))), Finder(Ring(None, None))]
    )
    assert [str(one) for one in discover()] == before


def test_a_distribution_without_a_header_has_the_name_of_its_folder_to_be_told_by(tmp_path: Path) -> None:
    info = tmp_path / "Pgregistry.Ring-0.1.dist-info"
    info.mkdir()
    one = InstalledDistribution(str(info), None)
    assert (one.name, one.version, one.info_name, one.folder) == ("unknown", "unknown", info.name, str(tmp_path))


def test_a_folder_is_listed_once_and_of_a_distribution_one_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        write_distribution(tmp_path / "a", f"other-{number}", {}, {})
    write_distribution(tmp_path / "a", "pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": GOOD})
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a")])
    calls = {"listdir": list[str](), "open": list[str]()}
    for name, made in calls.items():
        real = getattr(os, name)

        def counted(path: str, *rest: Any, real: Any = real, made: list[str] = made) -> Any:
            made.append(str(path))
            return real(path, *rest)

        monkeypatch.setattr(os, name, counted)
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
