"""The report of a network test: hosts, measurements, findings with their evidence, and their JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pgregistry import ConfigError
from pgregistry_nettest.analysis.measurements import Measurement
from pgregistry_nettest.analysis.wording import format_ranks

SCHEMA: Final = 1
Kind: TypeAlias = Literal["slow host", "slow ranks", "slow link", "slow fabric", "missing ranks"]
#: Hosts that are tested together, as places in the list of hosts.
Group: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Host:
    """A host under test: its name, and its ranks, ascending."""

    name: str
    ranks: tuple[int, ...]


def hosts_of(ranks: Iterable[int], hosts: Sequence[Host]) -> Group:
    """Return the numbers of the hosts that have some of the ranks, ascending."""
    wanted = set(ranks)
    return tuple(number for number, host in enumerate(hosts) if not wanted.isdisjoint(host.ranks))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is slow or missing.

    Attributes:
        kind: "slow host", "slow ranks" (some of a host), "slow link" (between two hosts), "slow
            fabric" (all of it, against a baseline) or "missing ranks".
        hosts: The numbers of the hosts.
        ranks: The ranks.
        factor: How many times the usual time it takes; None if it never ends.
        evidence: One sentence for each observation.
    """

    kind: Kind
    hosts: tuple[int, ...]
    ranks: tuple[int, ...]
    factor: float | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a network test measured and found. It is equal on all ranks.

    Attributes:
        hosts: The hosts. Elsewhere a host is its place in this tuple.
        partitions: For each partition its groups of hosts.
        measurements: Those of the groups, then those of the pairs.
        findings: What is slow or missing; empty if the network is healthy.
        notes: What else a reader should know.
        slow: How many slow hosts could be told apart.
        backend: The torch backend.
        device: The type of the tensors' device.
        seconds: How long the test took, from the first rank's call.
    """

    hosts: tuple[Host, ...]
    partitions: tuple[tuple[Group, ...], ...]
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    slow: int
    backend: str
    device: str
    seconds: float

    @property
    def healthy(self) -> bool:
        """Return True if nothing was found."""
        return not self.findings

    @property
    def world_size(self) -> int:
        """Return how many ranks were tested."""
        return sum(len(host.ranks) for host in self.hosts)

    @property
    def rounds(self) -> int:
        """Return how many rounds were measured: the partitions, and one more if pairs were tested."""
        return max((one.round + 1 for one in self.measurements), default=0)

    @property
    def of_groups(self) -> list[Measurement]:
        """Return the measurements of the partitions, without those of the pairs."""
        return [one for one in self.measurements if one.round < len(self.partitions)]

    def named(self, kind: Kind) -> tuple[int, ...]:
        """Return the hosts in findings of one kind, ascending."""
        return tuple(sorted({host for finding in self.findings if finding.kind == kind for host in finding.hosts}))

    def sentence(self, finding: Finding) -> str:
        """Return a finding in one line, such as "SLOW HOST  host 4 (node-e), rank 4: 2.4 times the usual time"."""
        if finding.kind == "slow fabric":
            what = f"all {len(self.hosts)} hosts"
        else:
            named = " and ".join(f"host {number} ({self.hosts[number].name})" for number in finding.hosts)
            what = f"{named}, {format_ranks(finding.ranks)}"
        times = "" if finding.factor is None else f": {finding.factor:.1f} times the usual time"
        return f"{finding.kind.upper()}  {what}{times}"

    def to_json(self) -> str:
        """Return the report as one JSON document, which `Report.from_json` reads."""
        data = dataclasses.asdict(self)
        measured = data.pop("measurements")
        for row, one in zip(measured, self.measurements, strict=True):
            row |= {"algbw": one.algbw, "busbw": one.busbw}
        head = {"schema": SCHEMA, "world_size": self.world_size, "healthy": self.healthy, "rounds": self.rounds}
        return json.dumps({**head, **data, "measurements": measured})

    @staticmethod
    def from_json(text: str) -> Report:
        """Return the report that `to_json` wrote.

        Raises:
            ConfigError: if the text is not such a document.
        """
        try:
            data: Any = json.loads(text)
            schema = data["schema"]
            if schema == SCHEMA:
                return Report(
                    hosts=tuple(Host(one["name"], tuple(one["ranks"])) for one in data["hosts"]),
                    partitions=tuple(tuple(map(tuple, part)) for part in data["partitions"]),
                    measurements=tuple(map(_measurement, data["measurements"])),
                    findings=tuple(map(_finding, data["findings"])),
                    notes=tuple(data["notes"]),
                    **{name: data[name] for name in ("slow", "backend", "device", "seconds")},
                )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(f"This is not a report of `nettest --json`: {type(error).__name__}: {error}") from error
        raise ConfigError(f"The report has schema {schema!r}, but this version reads schema {SCHEMA}.")

    @staticmethod
    def load(path: str | Path) -> Report:
        """Return the report in a file.

        Raises:
            ConfigError: if the file cannot be read or is not a report.
        """
        try:
            return Report.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # also a path with a null byte, and bytes that are not UTF-8
            raise ConfigError(f"The baseline {str(path)!r} cannot be read: {error}") from error
        except ConfigError as error:
            raise ConfigError(f"The baseline {str(path)!r}: {error}") from error


def _measurement(row: dict[str, Any]) -> Measurement:
    if not isinstance(row["seconds"], int | float | None) or not isinstance(row["spread"], int | float):
        raise ValueError(f"seconds = {row['seconds']!r}, spread = {row['spread']!r}")
    names = ("round", "op", "size", "count", "seconds", "spread", "error")
    return Measurement(ranks=tuple(row["ranks"]), **{name: row[name] for name in names})


def _finding(row: dict[str, Any]) -> Finding:
    lists = {name: tuple(row[name]) for name in ("hosts", "ranks", "evidence")}
    return Finding(kind=row["kind"], factor=row["factor"], **lists)
