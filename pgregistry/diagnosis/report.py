"""The diagnosis: who holds up a run, what shows it, and who waits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from pgregistry.errors import clean, format_ranks

SCHEMA: Final = 1
#: The text describes so many guilty ranks, and so many waits if nobody is guilty.
LISTED: Final = 8


def time_of(nanoseconds: int) -> str | None:
    """Return a time of a record as text; None if the record lacks it.

    >>> time_of(1758610505947280827)
    '2025-09-23 06:55:05 UTC'
    """
    if not 0 < nanoseconds < 1 << 62:
        return None
    return f"{datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """An operation that ranks wait in.

    Attributes:
        mode: The name of the mode; what torch calls the process group if it is of none.
        group: The ranks of the group.
        index: Its place among the groups of the mode; None if that is not known.
        collective: The operation, such as "all_reduce".
        sequence: Its number in the process group.
        ranks: Those that wait in it.
        held_by: Those that they wait for; empty if the records do not show it.
        since: When the first of them entered it, as text; None if that is not recorded.
    """

    mode: str
    group: tuple[int, ...]
    index: int | None
    collective: str
    sequence: int
    ranks: tuple[int, ...]
    held_by: tuple[int, ...]
    since: str | None

    def __str__(self) -> str:
        since = f" since {self.since}" if self.since else ""
        wait = "waits" if len(self.ranks) == 1 else "wait"
        return f"{self.name}: {format_ranks(self.ranks)} {wait}{since}"

    @property
    def name(self) -> str:
        """Return what it is, such as "all_reduce #3 of pipe, group 1 (ranks 1, 3)"."""
        index = "" if self.index is None else f", group {self.index}"
        number = f" #{self.sequence}" if self.sequence else ""
        return f"{self.collective}{number} of {self.mode}{index} ({format_ranks(self.group)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guilty:
    """A rank that holds up the run.

    Attributes:
        rank: The global rank.
        kind: "absent", "process", "device", "mismatch" or "deadlock".
        wait: The operation that shows it.
        evidence: What the records show of it, as half a sentence.
        waiting: The ranks that wait for it.
        behind: The ranks that wait for those.
        host: The name of its host, or the ranks on it; empty if neither is known.
        last: The last operation that it finished; None if the record has none.
        now: What it does instead.
    """

    rank: int
    kind: str
    wait: Wait
    evidence: str
    waiting: tuple[int, ...]
    behind: tuple[int, ...]
    host: str
    last: str | None
    now: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Rank {self.rank} holds up the run ({self.kind}): {self.evidence}."]
        rows = [
            ("host", self.host),
            ("in", str(self.wait)),
            ("last", self.last or ""),
            ("now", "\n          ".join(self.now)),
            ("waiting", format_ranks(self.waiting) if self.waiting else ""),
            ("behind", format_ranks(self.behind) if self.behind else ""),
        ]
        return "\n".join([*lines, *(f"  {name:<8}{text}" for name, text in rows if text)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The ranks that hold up a run.

    >>> import pgregistry
    >>> entry = {"process_group": ["0", "default_pg"], "profiling_name": "gloo:barrier", "collective_seq_id": 1}
    >>> records = {0: {"entries": [entry]}, 1: {"entries": []}}
    >>> diagnosis = pgregistry.diagnose(records)
    >>> [(one.rank, one.kind, one.waiting) for one in diagnosis.guilty]
    [(1, 'process', (0,))]

    Attributes:
        guilty: The ranks at fault, ascending.
        waiting: The operations that ranks wait in.
        missing_records: The ranks of the job without a record that can be read.
        problems: What is wrong with the records, a sentence each.
        records: How many records there are.
        asked: True if they are answers to a roll call.
    """

    guilty: tuple[Guilty, ...]
    waiting: tuple[Wait, ...]
    missing_records: tuple[int, ...]
    problems: tuple[str, ...]
    records: int
    asked: bool = False

    def __str__(self) -> str:
        parts = [str(one) for one in self.guilty[:LISTED]]
        if len(self.guilty) > LISTED:
            parts.append(f"So do {format_ranks(one.rank for one in self.guilty[LISTED:])}.")
        if not self.guilty:
            parts.append("The records show no rank that holds up the run." if self.waiting else "Nobody waits.")
            stuck = "; it ends on nobody: one of their devices is stuck, or a link"
            waiting = sorted(self.waiting, key=lambda one: bool(one.held_by))[:LISTED]
            parts += [f"  {one}{'' if one.held_by else stuck}" for one in waiting]
        if self.missing_records:
            parts.append(f"No {'answer' if self.asked else 'record'}: {format_ranks(self.missing_records)}.")
        return clean("\n".join(parts), 200_000)

    def to_json(self) -> str:
        """Return it as one JSON document; new keys may be added, none changes."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "guilty": [
                {
                    "rank": one.rank,
                    "kind": one.kind,
                    **_place(one.wait),
                    "waiting": one.waiting,
                    "behind": one.behind,
                    "since": one.wait.since,
                    "host": one.host or None,
                    "evidence": one.evidence,
                    "last": one.last,
                    "now": one.now,
                }
                for one in self.guilty
            ],
            "waiting": [
                {**_place(one), "ranks": one.ranks, "for": one.held_by, "since": one.since} for one in self.waiting
            ],
            "missing_records": self.missing_records,
            "problems": self.problems,
            "records": self.records,
        }
        return json.dumps(document)


def _place(wait: Wait) -> dict[str, object]:
    return {
        "mode": wait.mode,
        "group": wait.group,
        "group_index": wait.index,
        "collective": wait.collective,
        "sequence": wait.sequence,
    }


for _public in (Diagnosis,):
    _public.__module__ = "pgregistry"


def ranks_of(ranks: Iterable[int]) -> tuple[int, ...]:
    """Return ranks as an ascending tuple."""
    return tuple(sorted(ranks))
