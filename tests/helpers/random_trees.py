"""Path entries with all kinds of distributions, whole and broken, and what importlib finds in them."""

from __future__ import annotations

import email.parser  # all of it, while there is a path to import from
import gc
import importlib.metadata
import os
import random
import sys
import warnings
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from pgregistry.registry.discovery import GROUPS, discover
from pgregistry.registry.distributions import distributions, visible

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


def check_tree(seed: int, folder: Path) -> None:
    """Grow a tree and compare what is found in it."""
    before = sys.path[:]
    try:
        sys.path[:] = grow(random.Random(seed), folder)
        with warnings.catch_warnings():
            # importlib closes no zip file, and one that stands in the cycle of an error is closed by the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            compare()
            if any(entry.endswith(".pyz") for entry in sys.path):
                gc.collect()
    finally:
        sys.path[:] = before


def compare() -> None:
    """Raise AssertionError if the distributions on the path are not those that importlib finds."""
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
