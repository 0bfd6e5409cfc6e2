"""Views of a report: a table in nccl-tests' columns, and a plot."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pgregistry import ConfigError
from pgregistry_nettest.analysis.measurements import DTYPE, by_case
from pgregistry_nettest.analysis.report import Report, hosts_of
from pgregistry_nettest.analysis.usual import SUSPECT, Compared, compare
from pgregistry_nettest.analysis.wording import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The endings of files that matplotlib can write without more software.
ENDINGS: Final = (".pdf", ".png", ".svg")
#: The states of a host in a partition. Those from SHARED on are drawn in colours of alarm.
UNKNOWN, FINE, SHARED, SLOW, FAILED = range(5)
COLOURS: Final = ("white", "#dfe7ef", "#fbd9b0", "#f28e2b", "#c0392b")
LABELS: Final = ("not measured", "healthy", "slow because of a named host", "slow, and named", "failed")
#: The colours of collectives. None of them is a colour of alarm.
OF_OPS: Final = ("#1f4e79", "#2a9d8f", "#6c5b9e", "#5f6b73", "#0b7a75", "#8aa1b1")
#: Numbers are written into the cells of so many hosts at most.
NUMBERED: Final = 60
TALLEST: Final = 40.0


def print_table(report: Report) -> None:
    """Print one line for each collective and size, then the verdict and the notes."""
    rows = [("op", "size (B)", "count", "type", "time (us)", "algbw (GB/s)", "busbw (GB/s)", "slowest busbw")]
    for (op, _), ones in by_case(report.of_groups).items():
        if good := sorted((one for one in ones if one.seconds), key=lambda one: one.busbw):
            one = good[len(good) // 2]
            algbw, busbw, slowest = (f"{rate / 1e9:.3f}" for rate in (one.algbw, one.busbw, good[0].busbw))
            took = f"{1e6 * (one.seconds or 0):.1f}"
            rows.append((op, str(one.bytes), str(one.count), DTYPE, took, algbw, busbw, slowest))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"{_tested(report)}; {_counted(report.rounds, 'round')} in {report.seconds:.2f} s\n")
    for row in rows:
        cells = [f"{cell:{'<' if place in (0, 3) else '>'}{widths[place]}}" for place, cell in enumerate(row)]
        print("   ".join(cells).rstrip())
    print()
    for finding in report.findings:
        print(report.sentence(finding), *(f"  {sentence}" for sentence in finding.evidence), sep="\n")
    if report.healthy:
        print("healthy")
    for note in report.notes:
        print(f"note: {note}")


def _tested(report: Report) -> str:
    ranks = "" if report.world_size == len(report.hosts) else f"{report.world_size} ranks on "
    parts = _counted(len(report.partitions), "partition")
    return f"{ranks}{len(report.hosts)} hosts, {parts}, {report.backend} on {report.device}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def check_plot(path: str) -> None:
    """Raise ConfigError before anything is measured if the plot could not be written at the end."""
    file = Path(path).absolute()
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(f"plot = {path!r} needs matplotlib: pip install 'pgregistry[plot]'.")
    if file.suffix.lower() not in ENDINGS:
        raise ConfigError(f"plot = {path!r} must end with {', '.join(ENDINGS)}.")
    if not file.parent.is_dir():
        raise ConfigError(f"plot = {path!r}: there is no folder {str(file.parent)!r}; create it first.")


def save_plot(report: Report, path: str) -> None:
    """Write the plot of a report to a file.

    Raises:
        ConfigError: if it cannot be written.
    """
    try:
        draw(report).savefig(path)
    except OSError as error:
        raise ConfigError(f"plot = {path!r} cannot be written: {error}") from error


def draw(report: Report) -> Figure:
    """Return the plot of a report: the verdict as title, each host in each partition, bandwidth over size.

    Only groups that contain a rank of a finding have the colours of alarm. A network without
    findings has none.
    """
    from matplotlib.figure import Figure

    height = min(max(4.5, 0.3 * len(report.hosts) + 2.5 + 0.3 * len(report.findings)), TALLEST)
    figure = Figure(figsize=(12, height), layout="constrained")
    colour = "#1e7b3a" if report.healthy else COLOURS[FAILED]
    figure.suptitle(_title(report), fontsize=13, fontweight="bold", parse_math=False, color=colour)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    compared = compare(report.of_groups, report.hosts, report.slow, SUSPECT)  # what is found is sure already
    _draw_hosts(figure, left, report, compared)
    _draw_bandwidth(right, report, compared)
    return figure


def _title(report: Report) -> str:
    if report.healthy:
        return f"HEALTHY  no slow host and no slow link among {len(report.hosts)} hosts"
    lines = [report.sentence(finding) for finding in report.findings[:5]]
    return "\n".join(lines + [f"and {len(report.findings) - 5} more"] * (len(report.findings) > 5))


def _is_alarming(each: Compared, report: Report) -> bool:
    """Return True if a group is slow and contains a rank of a finding."""
    named = {rank for finding in report.findings for rank in finding.ranks}
    return each.slow and not named.isdisjoint(each.one.ranks)


def _draw_hosts(figure: Figure, axes: Axes, report: Report, compared: list[Compared]) -> None:
    """Draw for each host and partition how many times the usual time its group took, where it lost most time."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    parts, hosts = len(report.partitions), len(report.hosts)
    named = {host for finding in report.findings for host in finding.hosts}
    states = [[UNKNOWN] * parts for _ in report.hosts]
    factors = [[math.nan] * parts for _ in report.hosts]
    for each in sorted(compared, key=lambda each: each.excess):
        for host in hosts_of(each.one.ranks, report.hosts):
            alarming = FAILED if each.one.seconds is None else SLOW if host in named else SHARED
            states[host][each.one.round] = alarming if _is_alarming(each, report) else FINE
            factors[host][each.one.round] = each.factor
    axes.imshow(states, aspect="auto", cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=4.5, interpolation="nearest")
    for host, row in enumerate(factors if hosts <= NUMBERED else ()):
        for part, factor in enumerate(row):
            text = "–" if math.isnan(factor) else "failed" if math.isinf(factor) else f"{factor:.1f} ×"
            colour = "white" if states[host][part] == FAILED else "black"
            axes.text(part, host, text, ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(parts), [f"partition {number}" for number in range(parts)])
    axes.set_yticks(range(hosts), [f"host {number} ({host.name})" for number, host in enumerate(report.hosts)])
    axes.set_yticks([host - 0.5 for host in range(1, hosts)], minor=True)
    axes.set_xticks([part - 0.5 for part in range(1, parts)], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    for number, label in enumerate(axes.get_yticklabels()):
        if number in named:
            label.set(color=COLOURS[FAILED], fontweight="bold")
    axes.set_title(
        "time of the group that each host was in, × usual\n(one slow host slows its whole group)", fontsize=10
    )
    shown = sorted({state for row in states for state in row})
    patches = [Patch(facecolor=COLOURS[state], edgecolor="#b0b0b0", label=LABELS[state]) for state in shown]
    figure.legend(handles=patches, loc="outside lower left", ncols=len(patches), frameon=False, fontsize=9)


def _draw_bandwidth(axes: Axes, report: Report, compared: list[Compared]) -> None:
    """Draw the bus bandwidth of each group by size, and a line through the median group of each collective."""
    sizes = sorted({each.one.size for each in compared})
    for colour, op in zip(OF_OPS, dict.fromkeys(each.one.op for each in compared), strict=False):
        medians: list[tuple[int, float]] = []
        for place, size in enumerate(sizes):
            here = [each for each in compared if (each.one.op, each.one.size) == (op, size) and each.one.seconds]
            rates = sorted(each.one.busbw / 1e9 for each in here)
            medians += [(place, rates[len(rates) // 2])] if rates else []
            colours = [COLOURS[SLOW] if _is_alarming(each, report) else colour for each in here]
            axes.scatter([place] * len(here), [each.one.busbw / 1e9 for each in here], c=colours, s=28, zorder=3)
        line: Any = {"color": colour, "label": f"{op}: median group", "marker": "_", "markersize": 18}
        axes.plot([place for place, _ in medians], [rate for _, rate in medians], **line)
    if any(_is_alarming(each, report) and each.one.seconds for each in compared):
        axes.scatter([], [], c=COLOURS[SLOW], s=28, label="slow group with a named host")
    axes.set_xticks(range(len(sizes)), [format_size(size) for size in sizes])
    axes.set_xlim(-0.5, max(len(sizes), 1) - 0.5)
    axes.set_ylim(0, 1.15 * max([0.0, *(each.one.busbw for each in compared)]) / 1e9 or 1.0)
    axes.set_xlabel("size (bytes)")
    axes.set_ylabel("bus bandwidth (GB/s)")
    axes.set_title(f"bandwidth of each group\n({_tested(report)})", fontsize=10)
    axes.legend(loc="best", fontsize=9)
