"""The flight record of one rank."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pgregistry.diagnosis.records.event import (
    Event,
    Malformed,
    backend_of,
    is_finished,
    read_event,
    whole_batches,
    with_states,
)
from pgregistry.diagnosis.records.unpickling import UnsafePickle, unpickle
from pgregistry.errors import clean, describe

#: The format whose fields are known; a larger first number means that fields have changed.
FORMAT: Final = 2
#: So many of the latest finished operations of each process group are kept.
KEPT: Final = 16
#: Ranks are below it. A larger number is none, but a date in the name of a file, or damage.
MOST_RANKS: Final = 1 << 22

GroupName = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The flight record of one rank.

    Attributes:
        rank: The global rank.
        events: Its operations, oldest first: all that are not finished, and the latest of those that are.
        whole: True if the record has every operation of the rank from its first on.
        members: The global ranks of process groups, by name, where torch writes them.
        counters: Of each process group by torch's number: the last operation that it enqueued, and that it finished.
        numbers: torch's number of a process group, by its name, as far as it is known.
        lives: How many process groups have had a name, by name and backend. Only the operations of the last are kept.
        from_first: True if it begins with the first operation of the rank.
        origin: The file, for messages.
        host: The name of its host, where the record has it.
        stack: What its Python threads do, where the record has it.
        notes: What is odd about it, a sentence each.
    """

    rank: int
    events: tuple[Event, ...] = ()
    whole: bool = False
    members: Mapping[GroupName, tuple[int, ...]] = field(default_factory=dict)
    counters: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    numbers: Mapping[GroupName, int] = field(default_factory=dict)
    lives: Mapping[tuple[str, str], int] = field(default_factory=dict)
    from_first: bool = False
    origin: str = ""
    host: str = ""
    stack: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> int:
        """Return when its oldest operation was enqueued, in nanoseconds since the epoch; 0 if it has none."""
        return min((one.created for one in self.events if one.created), default=0)

    @property
    def last(self) -> int:
        """Return when its newest operation was enqueued, in nanoseconds since the epoch; 0 if it has none."""
        return max((one.created for one in self.events), default=0)


@dataclass(slots=True)
class Found:
    """The records that were found of a job.

    Attributes:
        records: The records that could be read; several of one rank if there are several.
        unread: Ranks whose record could not be read.
        problems: What is wrong, a sentence each.
    """

    records: list[Record] = field(default_factory=list)
    unread: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def parse(data: object) -> Any:
    """Return the tables in a record: bytes of a pickle or of JSON, JSON text, or the tables themselves.

    Raises:
        Malformed: if they cannot be read.
    """
    if isinstance(data, Mapping):
        return data
    try:
        if isinstance(data, bytes) and data[:1] == b"\x80":
            return unpickle(data)
        if isinstance(data, bytes | str):
            return json.loads(data)
    except UnsafePickle as error:
        raise Malformed(f"it is refused: {error}") from error
    except RecursionError as error:
        raise Malformed("it is nested too deep") from error
    except MemoryError as error:
        raise Malformed("it claims to be larger than the memory") from error
    except Exception as error:  # a damaged pickle raises anything
        raise Malformed(f"it is cut off or no flight record ({clean(describe(error), 200)})") from error
    raise Malformed(f"it is of type {type(data).__name__}")


def read_record(data: object, rank: int, origin: str = "") -> Record:
    """Return the record of one rank.

    >>> read_record('{"version": "2.10", "pg_config": {}, "pg_status": {}}', 3).events
    ()

    Raises:
        Malformed: if it cannot be read, or is not a flight record.
    """
    tables = parse(data)
    if not isinstance(tables, Mapping) or not ("pg_config" in tables or "entries" in tables):
        raise Malformed("it is not a flight record")
    version, entries = _text(tables.get("version")), tables.get("entries") or []
    if not isinstance(entries, list | tuple):
        raise Malformed("its entries are not a list")
    notes: list[str] = []
    if (number := re.match(r"\d+", version)) and int(number[0][:9]) > FORMAT:
        notes.append(f"has the format {clean(version, 60)}, newer than {FORMAT}.x; what is known of it is read")
    stated, lives, events, odd = with_states(entries), _Lives(), [], []
    numbers, left_out = dict[GroupName, int](), False
    for place in range(len(entries) - 1, -1, -1):
        entry = entries[place]
        try:
            life = entry.get("pg_id")
            met = lives.meet(entry["process_group"][0], entry["profiling_name"], life)
            if not met:
                continue
            if met > KEPT and is_finished(entry, stated):
                left_out = True
                continue
            event = read_event(entry, place, stated)
        except Malformed as error:
            odd.append(str(error))
        except (KeyError, TypeError, IndexError, AttributeError):
            odd.append("an entry has an unknown form")
        else:
            events.append(event)
            if isinstance(life, int):
                numbers[event.group] = life
    contiguous = not odd and [one.get("record_id") for one in entries] == list(range(len(entries)))
    if odd and len(odd) == len(entries):
        raise Malformed(f"none of its {len(odd)} entries can be read: {odd[0]}")
    if odd:
        notes.append(f"has {len(odd)} entries of {len(entries)} that cannot be read: {odd[0]}")
    members = _members(tables.get("pg_config"), notes)
    stack = tables.get("stack")
    return Record(
        rank=rank,
        events=whole_batches(events[::-1]),
        whole=contiguous and not left_out,
        members=members,
        counters=(counters := _counters(tables.get("pg_status"))),
        numbers=_all_numbers(numbers, members, counters),
        lives=lives.count(),
        from_first=contiguous,
        origin=origin,
        host=clean(_text(tables.get("host_name")), 200),
        stack=tuple(clean(_text(one), 500) for one in stack[:20]) if isinstance(stack, list | tuple) else (),
        notes=tuple(notes),
    )


class _Lives:
    """The process groups that have had one name, one after another: entries are met from the last one backwards."""

    def __init__(self) -> None:
        self._lives: dict[tuple[str, str], list[object]] = {}
        self._met: dict[str, list[int]] = {}
        self._known: dict[tuple[str, str, object], list[int] | None] = {}

    def meet(self, group: str, name: str, life: object) -> int:
        """Return how many entries of a process group have been met, with this one; 0 if another has its name now.

        Args:
            group: Its name.
            name: That of the operation, with the backend.
            life: torch's number of the process group.
        """
        if not (isinstance(group, str) and isinstance(name, str) and isinstance(life, int | None)):
            raise TypeError("the entry has an unknown form")
        key = group, name, life
        met = self._known[key] if key in self._known else self._first(*key)
        if met is None:
            return 0
        met[0] += 1
        return met[0]

    def _first(self, group: str, name: str, life: object) -> list[int] | None:
        met: list[int] | None = self._met.setdefault(group, [0])
        if life is not None:
            lives = self._lives.setdefault((group, backend_of(name)), [life])
            if life != lives[0]:
                lives.extend({life}.difference(lives))
                met = None
        self._known[group, name, life] = met
        return met

    def count(self) -> dict[tuple[str, str], int]:
        """Return how many process groups have had each name, by name and backend."""
        return {name: len(lives) for name, lives in self._lives.items()}


def _text(value: Any) -> str:
    """Return a value as text if it is one, or a number: that of a list in a pickle may be larger than the memory."""
    return str(value) if isinstance(value, str | int | float) else ""


def _members(config: Any, notes: list[str]) -> dict[GroupName, tuple[int, ...]]:
    found = {}
    for name, one in config.items() if isinstance(config, Mapping) else ():
        if isinstance(one, Mapping) and re.fullmatch(r"\[[\d, ]+\]", text := _text(one.get("ranks"))):
            ranks = tuple(int(rank[:19]) for rank in re.findall(r"\d+", text))
            if max(ranks) < MOST_RANKS:
                found[_text(name), _text(one.get("desc"))] = ranks
        elif not isinstance(one, Mapping):
            notes.append("has a pg_config of an unknown form")
    return found


def _counters(status: Any) -> dict[int, tuple[int, int]]:
    found = {}
    for number, one in status.items() if isinstance(status, Mapping) else ():
        try:
            found[int(number)] = (int(one["last_enqueued_collective"]), int(one["last_completed_collective"]))
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _all_numbers(
    known: Mapping[GroupName, int], members: Mapping[GroupName, object], counters: Mapping[int, object]
) -> dict[GroupName, int]:
    """Return torch's number of each process group: names that are counted were given in the order of the numbers."""
    counted = sorted((name for name in members if name[0].isdecimal()), key=lambda name: int(name[0]))
    if len(counted) == len(members) == len(counters):
        guess = dict(zip(counted, sorted(counters), strict=True))
        if all(guess.get(name) == number for name, number in known.items()):
            return guess
    return dict(known)
