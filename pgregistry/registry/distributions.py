"""Distributions on the path, as `importlib.metadata` finds them, but read one by one and only as far as needed.

A folder is listed once, and of a distribution one file is opened. What else there is, zip files and finders of
others, is left to importlib.
"""

from __future__ import annotations

import codecs
import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from itertools import chain
from stat import S_ISFIFO
from typing import Any, Final

log = logging.getLogger("pgregistry.plan")

ENTRY_POINTS: Final = "entry_points.txt"
UNKNOWN: Final = "unknown"
#: A file of metadata is read up to this many bytes: it may be a device, or another program's by mistake.
LONGEST: Final = 1 << 22
_CHUNK: Final = 1 << 16


class InstalledDistribution:
    """The metadata of a distribution, of which nothing is read until it is asked for.

    Attributes:
        info: The path of its metadata, such as `/site-packages/pgregistry_ring-0.1.dist-info`.
    """

    def __init__(self, info: str, key: str | None, foreign: Distribution | None = None) -> None:
        self.info = info
        self._key = key
        self._foreign = foreign

    @property
    def key(self) -> str | None:
        """Return the normalized name, by which one distribution hides another; None if it has no name."""
        return self._key or (None if self.name == UNKNOWN else normalized(self.name))

    @property
    def folder(self) -> str:
        """Return the entry of the path that it was found in."""
        return os.path.dirname(os.path.abspath(self.info))

    @property
    def info_name(self) -> str:
        """Return the name of the folder of its metadata."""
        return os.path.basename(self.info.rstrip("/"))

    @property
    def leftover(self) -> bool:
        """Return True for a folder that pip renamed to delete it, and could not delete."""
        return self.info_name.startswith("~")

    @cached_property
    def header(self) -> dict[str, list[str]]:
        """Return the fields of its metadata by name in lower case; nothing if they cannot be read."""
        for file in ("METADATA", "PKG-INFO", ""):  # an old egg-info is a file itself
            try:
                data = self.read(file, most=_CHUNK)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # of the file system, or of a finder of anybody's
                log.debug("%s of %s cannot be read: %s", file, self.info, error)
                continue
            if data:
                return _header(data)
        return {}

    @property
    def name(self) -> str:
        """Return its name, or `unknown`."""
        return self.header.get("name", [""])[0] or UNKNOWN

    @property
    def version(self) -> str:
        """Return its version, or `unknown`."""
        return self.header.get("version", [""])[0] or UNKNOWN

    def read(self, file: str, most: int = LONGEST) -> bytes | None:
        """Return what a file of its metadata holds, at most so many bytes; None if there is no such file.

        Raises:
            Exception: whatever the finder of another raises; an OSError of a folder's file.
        """
        if self._foreign is not None:
            try:
                text = self._foreign.read_text(file)
            except UnicodeDecodeError as error:
                return error.object
            return None if text is None else text.encode("utf-8", "surrogatepass")[:most]
        path = f"{self.info}/{file}" if file else self.info
        try:
            if S_ISFIFO(os.stat(path).st_mode):
                return b""  # opening it would wait for a writer
            # With an opener, as for O_NONBLOCK, Ctrl-C could leave the file open.
            opened = open(path, "rb", buffering=0)  # noqa: SIM115
        except (FileNotFoundError, NotADirectoryError):
            return None
        with opened:
            data = chunk = opened.read(_CHUNK) or b""
            while len(chunk) == _CHUNK and len(data) < most:
                data += (chunk := opened.read(_CHUNK) or b"")
        if len(data) >= LONGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return data


def distributions() -> Iterator[InstalledDistribution]:
    """Yield all distributions, also those that another one of the same name hides, in the order of importlib."""
    for finder in sys.meta_path:
        search = getattr(finder, "find_distributions", None)
        if search is not None and finder is PathFinder:
            for entry in dict.fromkeys(os.fspath(entry) for entry in sys.path if isinstance(entry, str | os.PathLike)):
                yield from _in_folder(entry)
        elif search is not None:
            yield from _found_by(search, DistributionFinder.Context())


def visible(found: Iterable[InstalledDistribution]) -> Iterator[InstalledDistribution]:
    """Yield of all distributions of one name the first."""
    seen = set[str | None]()
    for one in found:
        key = one.key
        if key is None or key not in seen:
            seen.add(key)
            yield one


def normalized(name: str) -> str:
    """Return the name of a distribution in the one spelling of importlib.

    >>> normalized("Pgregistry-Ring.v2")
    'pgregistry_ring_v2'
    """
    return re.sub(r"[-_.]+", "_", name).lower()


def version_of(name: str) -> str | None:
    """Return the version of an installed distribution, `unknown` if its metadata do not say; None if there is none.

    >>> version_of("nowhere-at-all") is None
    True
    """
    key = normalized(name)
    return next((one.version for one in visible(distributions()) if one.key == key), None)


def core_version() -> str:
    """Return the version of pgregistry, `unknown` for a copy without metadata."""
    return version_of("pgregistry") or UNKNOWN


def _in_folder(entry: str) -> Iterator[InstalledDistribution]:
    try:
        children = os.listdir(entry or ".")
    except NotADirectoryError:
        children = None
    except (OSError, ValueError) as error:  # importlib skips it too
        if not isinstance(error, FileNotFoundError):
            log.debug("%s cannot be listed: %s", entry, error)
        return
    if children is None or entry.lower().endswith(".egg"):
        yield from _found_by(MetadataPathFinder.find_distributions, DistributionFinder.Context(path=[entry]))
        return
    before = os.path.join(entry, "")
    by_name: dict[str, list[InstalledDistribution]] = {}
    for child in children:  # of thousands, so each step counts
        if child[-5:].lower() != "-info":
            continue
        tail = child[-10:]
        if tail == ".dist-info":
            base, usual = child[:-10], True
        elif tail[-9:] == ".egg-info":
            base, usual = child[:-9], True
        elif tail.lower().endswith((".dist-info", ".egg-info")):
            base, usual = child.rpartition(".")[0], False
        else:
            continue
        stem = base.partition("-")[0]
        name = normalized(stem) if "." in stem or "__" in stem else stem.lower()
        # In these cases importlib takes the name in the metadata instead.
        key = name if usual and stem and base.strip(".") else None
        one = InstalledDistribution(before + child, key)
        if name in by_name:
            by_name[name].append(one)
        else:
            by_name[name] = [one]
    yield from chain.from_iterable(by_name.values())


def _found_by(search: Callable[..., Iterable[Distribution]], context: object) -> Iterator[InstalledDistribution]:
    try:
        for one in search(context):
            yield InstalledDistribution(*_place(one), one)
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # of a finder of anybody's
        log.debug("%r raised %s: %s", search, type(error).__name__, error)


def _place(one: Any) -> tuple[str, str | None]:
    """Return the folder of a distribution and its normalized name; importlib has no public call for either."""
    try:
        info = str(getattr(one, "_path", None) or one.locate_file("")).rstrip("/")  # of a folder in a zip file
    except Exception:
        info = repr(one)
    try:
        return info, one._normalized_name or None
    except Exception:  # without a name, or in a class of anybody's
        return info, None


def _header(data: bytes) -> dict[str, list[str]]:
    """Return the fields up to the first empty line, as the e-mail format of metadata has them."""
    fields: dict[str, list[str]] = {}
    head = data.partition(b"\n\n")[0].partition(b"\n\r\n")[0]  # what follows is longer
    text = head.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode(errors="replace")
    for line in text.split("\n"):
        if line[:1] in (" ", "\t"):
            continue  # of a field that is not needed
        name, colon, value = line.partition(":")
        if not colon or " " in name:
            break
        fields.setdefault(name.lower(), []).append(value.strip())
    return fields
