"""Flight records as files, as torch writes them: one a rank, whose number ends the name."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pgregistry.diagnosis.records.event import Malformed
from pgregistry.diagnosis.records.record import MOST_RANKS, Found, read_record
from pgregistry.errors import ConfigError, clean

#: The end of a file's name.
RANK: Final = re.compile(r"(\d{1,9})(?:\.(?:json|pkl|pickle|bin))?$")


def read_folder(folder: str | os.PathLike[str]) -> Found:
    """Return the records in a folder and those below it.

    Raises:
        ConfigError: if the folder cannot be read, or holds no flight record.
    """
    found, broken, unread, readable = Found(), list[str](), list[tuple[str, int]](), set[str]()
    shown = clean(str(folder), 300)
    way_out = "It must be a folder with the files that torch dumps, one a rank, such as nccl_trace_rank_0."
    try:
        with os.scandir(folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{shown} cannot be read: {reason}. {way_out}") from error
    files = [*_files(folder, found.problems)]
    # the others are whatever lies beside the records, such as logs
    prefixes = {_prefix(path) for path, _ in files if _begins_like_a_record(path)}
    with _without_collector():
        for path, rank in files:
            if _prefix(path) not in prefixes:
                continue
            try:
                data = path.read_bytes()
                if not data:
                    raise Malformed("it is empty")
                found.records.append(read_record(data, rank, clean(path.name, 200)))
                readable.add(_prefix(path))
            except OSError as error:
                broken.append(f"{clean(str(path), 300)} cannot be read: {error.strerror or error}.")
                unread.append((_prefix(path), rank))
            except Malformed as error:
                broken.append(f"{clean(str(path), 300)} is left out: {error}.")
                unread.append((_prefix(path), rank))
    # a file that begins like a record, of which no other is one, is of no rank
    found.unread.update(rank for prefix, rank in unread if prefix in readable)
    found.problems += broken[:20]
    if len(broken) > 20:
        found.problems.append(f"{len(broken) - 20} more files are left out.")
    if not found.records:
        raise ConfigError("\n".join([f"{shown} holds no flight record that can be read. {way_out}", *found.problems]))
    return found


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's collector from looking at millions of values again and again, none of which is in a cycle."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _prefix(path: Path) -> str:
    """Return the name of a file up to the rank."""
    return RANK.sub("", path.name)


def _begins_like_a_record(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1) in (b"\x80", b"{")
    except OSError:
        return True


def _files(folder: str | os.PathLike[str], problems: list[str]) -> Iterator[tuple[Path, int]]:
    def unreadable(error: OSError) -> None:
        problems.append(f"{clean(str(error.filename), 300)} cannot be read: {error.strerror}.")

    for base, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            number = RANK.search(name)
            if number and int(number[1]) < MOST_RANKS and Path(base, name).is_file():
                yield Path(base, name), int(number[1])
