"""A report as a picture: which groups of which host are slow, and bandwidth over size."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pgregistry import ConfigError
from pgregistry.errors import listing
from pgregistry_nettest.report import Report
from pgregistry_nettest.usual import cases, compare, members

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The endings that matplotlib can write without more software.
ENDINGS: Final = (".pdf", ".png", ".svg")


def check_plot(path: str) -> None:
    """Refuse, before anything is measured, what could not be drawn at the end; ConfigError."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("plot needs matplotlib: pip install 'pgregistry[plot]'.")
    if Path(path).suffix.lower() not in ENDINGS:
        raise ConfigError(f"plot = {path!r} must end with {listing(ENDINGS, 'or')}.")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"plot = {path!r}: there is no folder {str(Path(path).absolute().parent)!r}.")


def plot(report: Report, path: str) -> None:
    """Draw a report into a file.

    Raises:
        ConfigError: if it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, max(4.0, 0.25 * len(report.hosts) + 1.5)), layout="constrained")
    left, right = figure.subplots(1, 2)
    _heat(figure, left, report)
    _bandwidth(right, report)
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"plot = {path!r} cannot be written: {error}") from error


def _heat(figure: Any, axes: Axes, report: Report) -> None:
    """How many times as long as usual each host's group took in each partition, where it lost most time."""
    parts = len(report.partitions)
    shown = [[math.nan] * parts for _ in report.hosts]
    groups = [one for one in report.measurements if one.round < parts]
    for each in sorted(compare(groups, report.hosts, report.slow), key=lambda each: each.excess):
        for host in members(each.one, report.hosts):
            shown[host][each.one.round] = min(each.factor, 10.0)  # also where it failed
    image = axes.imshow(shown, aspect="auto", vmin=1.0, vmax=3.0, cmap="YlOrRd", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="times the usual time", extend="max")
    axes.set_xticks(range(parts), [f"partition {number}" for number in range(parts)])
    axes.set_yticks(range(len(report.hosts)), [f"{place} {host.name}" for place, host in enumerate(report.hosts)])
    axes.set_title("hosts × partitions")


def _bandwidth(axes: Axes, report: Report) -> None:
    """The bus bandwidth of the median group, and the range of all."""
    groups = [one for one in report.measurements if one.round < len(report.partitions)]
    by_op: dict[str, list[tuple[int, list[float]]]] = {}
    for (op, size), ones in cases(groups).items():
        if rates := sorted(one.busbw / 1e9 for one in ones if one.seconds):
            by_op.setdefault(op, []).append((size, rates))
    for op, points in by_op.items():
        points.sort()
        sizes = [size for size, _ in points]
        (line,) = axes.plot(sizes, [rates[len(rates) // 2] for _, rates in points], marker="o", label=op)
        low, high = [rates[0] for _, rates in points], [rates[-1] for _, rates in points]
        axes.fill_between(sizes, low, high, alpha=0.2, color=line.get_color())
        if len(sizes) == 1:
            axes.errorbar(
                sizes, [(low[0] + high[0]) / 2], yerr=(high[0] - low[0]) / 2, color=line.get_color(), capsize=4
            )
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("size (B)")
    axes.set_ylabel("busbw (GB/s)")
    axes.legend()
    axes.set_title("bandwidth: the median group, and the range of all")
