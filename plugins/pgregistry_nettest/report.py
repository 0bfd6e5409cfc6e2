"""What a network test found: measurements, findings with their evidence, and all of it as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pgregistry import ConfigError
from pgregistry.errors import PgregistryError
from pgregistry_nettest.collectives import bus_factor, size_of

SCHEMA: Final = 1
Kind: TypeAlias = Literal["slow host", "slow ranks", "slow link", "slow fabric", "missing ranks"]


@dataclass(frozen=True, slots=True)
class Host:
    """A host under test: its name, and its ranks, ascending."""

    name: str
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One collective of one size in one group; everybody in the group sees the same time.

    Attributes:
        round: Which partition, from 0; pair tests come in the round after the last partition.
        op: The collective.
        size: The bytes that were asked for.
        count: The numbers that each rank gives, as nccl-tests counts them.
        ranks: The group.
        seconds: The median of the slowest rank; None where the collective failed.
        spread: How far from their median a rank's times lie, in the median, in seconds.
        error: Why it failed.
    """

    round: int
    op: str
    size: int
    count: int
    ranks: tuple[int, ...]
    seconds: float | None
    spread: float = 0.0
    error: str | None = None

    @property
    def algbw(self) -> float:
        """Bytes a second, as the caller sees them; 0 where it failed."""
        return size_of(self.op, self.count, len(self.ranks)) / self.seconds if self.seconds else 0.0

    @property
    def busbw(self) -> float:
        """Bytes a second on the wire of each rank: comparable between groups of any size."""
        return self.algbw * bus_factor(self.op, len(self.ranks))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is slow or missing.

    Attributes:
        kind: "slow host", "slow ranks" (some of a host), "slow link" (between two hosts), "slow
            fabric" (all of it, against a baseline) or "missing ranks".
        hosts: The numbers of the hosts.
        ranks: The ranks.
        factor: How many times as long as usual it takes; None where it takes forever.
        evidence: A sentence for each observation.
    """

    kind: Kind
    hosts: tuple[int, ...]
    ranks: tuple[int, ...]
    factor: float | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a network test measured and found; equal on all ranks.

    Attributes:
        hosts: The hosts; their numbers elsewhere are places in this tuple.
        partitions: For each partition its groups of hosts.
        measurements: The groups, then the pairs.
        findings: What is slow or missing; empty where all is well.
        notes: What else a reader should know.
        slow: How many slow hosts could be told apart.
        backend: The torch backend.
        device: The type of the tensors' device.
        seconds: How long it took, from the first rank's call.
    """

    hosts: tuple[Host, ...]
    partitions: tuple[tuple[tuple[int, ...], ...], ...]
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    slow: int
    backend: str
    device: str
    seconds: float

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def world_size(self) -> int:
        """How many ranks were tested."""
        return sum(len(host.ranks) for host in self.hosts)

    @property
    def rounds(self) -> int:
        """How many rounds were measured: the partitions, and one more where pairs were tested."""
        return max((one.round + 1 for one in self.measurements), default=0)

    def named(self, kind: Kind) -> tuple[int, ...]:
        """The hosts in findings of one kind, ascending."""
        return tuple(sorted({host for finding in self.findings if finding.kind == kind for host in finding.hosts}))

    def to_json(self) -> str:
        """The report as one JSON document; `Report.from_json` reads it."""
        data = dataclasses.asdict(self)
        measured = data.pop("measurements")
        for row, one in zip(measured, self.measurements, strict=True):
            row |= {"algbw": one.algbw, "busbw": one.busbw}
        head = {"schema": SCHEMA, "world_size": self.world_size, "healthy": self.healthy, "rounds": self.rounds}
        return json.dumps({**head, **data, "measurements": measured})

    @staticmethod
    def from_json(text: str) -> Report:
        """The report that `to_json` wrote.

        Raises:
            ConfigError: if the text is not such a document.
        """
        try:
            data: Any = json.loads(text)
            if data["schema"] != SCHEMA:
                raise ConfigError(f"The report has schema {data['schema']!r}, and this version reads schema {SCHEMA}.")
            return Report(
                hosts=tuple(Host(one["name"], tuple(one["ranks"])) for one in data["hosts"]),
                partitions=tuple(tuple(map(tuple, part)) for part in data["partitions"]),
                measurements=tuple(map(_measurement, data["measurements"])),
                findings=tuple(map(_finding, data["findings"])),
                notes=tuple(data["notes"]),
                slow=data["slow"],
                backend=data["backend"],
                device=data["device"],
                seconds=data["seconds"],
            )
        except PgregistryError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"This is no report of `nettest --json`: {type(error).__name__}: {error}") from error

    @staticmethod
    def load(path: str | Path) -> Report:
        """The report in a file.

        Raises:
            ConfigError: if it cannot be read, or holds something else.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The baseline {str(path)!r} cannot be read: {error}") from error
        try:
            return Report.from_json(text)
        except ConfigError as error:
            raise ConfigError(f"The baseline {str(path)!r}: {error}") from error


def _measurement(row: dict[str, Any]) -> Measurement:
    names = ("round", "op", "size", "count", "seconds", "spread", "error")
    if not isinstance(row["seconds"], int | float | None) or not isinstance(row["spread"], int | float):
        raise ValueError(f"seconds = {row['seconds']!r}, spread = {row['spread']!r}")
    return Measurement(ranks=tuple(row["ranks"]), **{name: row[name] for name in names})


def _finding(row: dict[str, Any]) -> Finding:
    lists = {name: tuple(row[name]) for name in ("hosts", "ranks", "evidence")}
    return Finding(kind=row["kind"], factor=row["factor"], **lists)
