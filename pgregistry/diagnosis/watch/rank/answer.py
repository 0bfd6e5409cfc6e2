"""The answer of one rank to a roll call: a small flight record, with how long each operation has been pending."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Final

from pgregistry.diagnosis.records.event import is_finished, with_states

#: Operations in an answer: of each process group the first that are pending, and the last that are finished.
FIRST: Final = 8
LAST: Final = 2
#: What an answer has of an operation. The rest is long, or of no use to a diagnosis.
FIELDS: Final = (
    "record_id pg_id process_group collective_seq_id p2p_seq_id profiling_name time_created_ns input_sizes "
    "input_dtypes output_sizes output_dtypes state retired timeout_ms is_p2p"
).split()
FRAMES: Final = 4

Tables = dict[str, Any]


class Membership:
    """Which process groups of this process are watched: those of the context, and others among its ranks alone.

    Those of another context, which has a watch of its own, are no reason to call the roll, but are in the answer.

    Args:
        names: The process groups of the context.
        ranks: The ranks of the context.
        members: Returns the global ranks of a process group; empty if nobody knows them.
    """

    def __init__(
        self, names: Collection[str], ranks: Collection[int], members: Callable[[str], tuple[int, ...]]
    ) -> None:
        self._names, self._ranks, self._members = frozenset(names), frozenset(ranks), members
        self._found: dict[tuple[str, str], tuple[int, ...] | None] = {}

    def of(self, name: str, description: str) -> tuple[int, ...] | None:
        """Return the ranks of a process group, empty where the plan has them; None if it is not watched here."""
        if name in self._names:
            return ()
        key = name, description
        if key not in self._found:
            ranks = self._members(name)
            self._found[key] = ranks if ranks and self._ranks.issuperset(ranks) else None
        return self._found[key]

    def calls(self, name: str, description: str) -> bool:
        """Return True if what is pending in a process group is a reason to call the roll."""
        other = description.startswith("pgregistry:") and name not in self._names
        return not other and self.of(name, description) is not None


def watched(tables: Mapping[str, Tables], membership: Membership, begun: int) -> list[tuple[str, Tables]]:
    """Return the entries of all recorders that are watched, each with its recorder, oldest first.

    Args:
        tables: The tables of each recorder.
        membership: The process groups that are watched.
        begun: When the watch began, in nanoseconds since the epoch. What is older is of process groups that are gone.
    """
    found = [
        (source, one)
        for source, each in tables.items()
        for one in each.get("entries") or ()
        if one.get("time_created_ns", 0) >= begun and membership.of(*one["process_group"]) is not None
    ]
    return sorted(found, key=lambda one: one[1].get("time_created_ns", 0))


def compose(
    entries: Sequence[tuple[str, Tables]],
    membership: Membership,
    waited: Callable[[Hashable], float],
    *,
    stack: Sequence[str],
    whole: bool = False,
) -> Tables:
    """Return the answer of this rank.

    Args:
        entries: What `watched` returns, and the send or recv that the main thread stands in.
        membership: The process groups that are watched.
        waited: Returns the seconds for which nothing has changed in a process group, by recorder and torch's number.
        stack: The Python stacks of this process.
        whole: Whether to leave nothing out, as in a file.
    """
    kept = [*range(len(entries))] if whole else _kept(entries)
    config = {}
    for name, description in dict.fromkeys(tuple(entries[place][1]["process_group"]) for place in kept):
        ranks = membership.of(name, description)
        config[name] = {"name": name, "desc": description, "ranks": str([*(ranks or ())])}
    found = []
    for place in kept:
        source, entry = entries[place]
        one = {name: entry[name] for name in FIELDS if name in entry}
        if frames := entry.get("frames"):
            one["frames"] = frames[:FRAMES]
        one["pending_seconds"] = round(waited(entry.get("standing") or (source, entry.get("pg_id"))), 3)
        found.append(one)
    host, pid = os.uname().nodename, os.getpid()
    return {
        "version": "2.10",
        "pg_config": config,
        "pg_status": {},
        "host_name": f"{host}, process {pid}",
        "stack": [*stack],
        "entries": found,
    }


def _kept(entries: Sequence[tuple[str, Tables]]) -> list[int]:
    stated = with_states(entry for _, entry in entries)
    kept, first, last = [], Counter[object](), Counter[object]()
    finished = [is_finished(entry, stated) for _, entry in entries]
    for place, (_, entry) in enumerate(entries):
        group = entry["process_group"][0]
        if not finished[place]:
            first[group] += 1
            kept += [place] * (first[group] <= FIRST)
    for place in range(len(entries) - 1, -1, -1):
        group = entries[place][1]["process_group"][0]
        if finished[place]:
            last[group] += 1
            kept += [place] * (last[group] <= LAST)
    return sorted(kept)
