"""A report for people, in nccl-tests' columns."""

from __future__ import annotations

from statistics import median

from pgregistry.errors import format_ranks
from pgregistry.views import tables
from pgregistry_nettest.collectives import TYPE, size_of
from pgregistry_nettest.report import Finding, Report
from pgregistry_nettest.usual import cases


def show(report: Report) -> None:
    """Print a line for each collective and size, then the verdict."""
    groups = [one for one in report.measurements if one.round < len(report.partitions)]
    numbers = ("size (B)", "count", "time (us)", "algbw (GB/s)", "busbw (GB/s)", "slowest busbw")
    rows = tables.table("op", "size (B)", "count", "type", *numbers[2:], right=numbers)
    for (op, _), ones in cases(groups).items():
        ones = sorted((one for one in ones if one.seconds), key=lambda one: one.busbw)
        if not ones:
            continue
        middle = ones[len(ones) // 2]
        size = size_of(op, middle.count, len(middle.ranks))
        seconds = middle.seconds or 0.0
        bandwidths = (f"{one / 1e9:.3f}" for one in (middle.algbw, middle.busbw, ones[0].busbw))
        rows.add_row(op, str(size), str(middle.count), TYPE, f"{1e6 * seconds:.1f}", *bandwidths)
    per_host = median(len(host.ranks) for host in report.hosts)
    each = f"{report.world_size} ranks on {len(report.hosts)} hosts" if per_host > 1 else f"{len(report.hosts)} hosts"
    tables.show(
        f"{each}, {_counted(len(report.partitions), 'partition')}, {report.backend} on {report.device}; "
        f"{_counted(report.rounds, 'round')} in {report.seconds:.2f} s",
        "",
        rows,
        "",
        *(line for finding in report.findings for line in _lines(finding, report)),
        *(["healthy"] if report.healthy else []),
        *(f"note: {note}" for note in report.notes),
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _lines(finding: Finding, report: Report) -> list[str]:
    """What is wrong, then why we think so."""
    if finding.kind == "slow fabric":
        who = f"all {len(report.hosts)} hosts"
    else:
        who = " and ".join(f"host {number} ({report.hosts[number].name})" for number in finding.hosts)
        who += f", {format_ranks(finding.ranks)}"
    times = "" if finding.factor is None else f": {finding.factor:.1f} times the usual time"
    return [f"{finding.kind.upper()}  {who}{times}", *(f"  {sentence}" for sentence in finding.evidence)]
