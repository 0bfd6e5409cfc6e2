"""Measure how `init` grows with the world, and write the tables and plots of docs/scale.md: about five minutes.

    make bench-scale

The text between two markers of the page is replaced; the rest of it is written by hand.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from statistics import median

import bench_agreement_scale as agreement
import bench_build_scale as building
import measure
from quick import ROOT, folded, plot

PAGE = ROOT / "docs" / "scale.md"
Found = dict[int, dict[str, list[agreement.Round]]]


def simulated(found: Found) -> str:
    """Return the table of simulated ranks, and draw their plots."""
    kinds = {
        agreement.PEER: "two calls of each client",
        agreement.AGREE: "ranks agree",
        agreement.DIFFER: "one rank differs: all raise",
        agreement.MISSING: f"one rank does not come: all raise, after its {agreement.PATIENCE:g} s",
    }
    times = {
        words: {world: agreement.until_known(kind, these[kind]) for world, these in found.items()}
        for kind, words in kinds.items()
    }
    cpu = {
        words: {world: agreement.middle(these[kind], lambda one: one.server) for world, these in found.items()}
        for kind, words in kinds.items()
    }
    plot("agreement", "Simulated ranks: until all know", "ranks", "s", times)
    plot("agreement-store", "CPU of the process that hosts the store", "ranks", "s", cpu)
    head = [
        "ranks",
        "",
        "until all know",
        "÷ clients",
        "CPU of the store",
        "store calls",
        "bytes sent, most",
        "answered",
    ]
    rows = []
    for world, these in found.items():
        for kind, words in kinds.items():
            rounds, peer = these[kind], times[kinds[agreement.PEER]][world]
            rows.append(
                [
                    f"{world:,}",
                    words,
                    measure.duration(times[words][world]),
                    f"{times[words][world] / peer:.1f} ×",
                    measure.duration(cpu[words][world]),
                    str(max(one.calls for one in rounds)),
                    f"{max(max(one.sent) for one in rounds):,}",
                    f"{agreement.middle(rounds, lambda one: median(one.received)):,.0f}",
                ]
            )
    return markdown(head, rows)


def measured(found: building.Counts) -> list[str]:
    """Return the tables of real ranks, and draw their plot."""
    series = {
        words: {world: one[what][name] for world, one in found.items()}
        for words, what, name in (
            ("gloo connections of a rank, all modes", building.ALL, "gloo"),
            ("gloo connections of a rank, the world", building.WORLD, "gloo"),
            ("descriptors of rank 0, the world", building.WORLD, "descriptors of rank 0"),
        )
    }
    plot("connections", "Connections and descriptors of a rank", "ranks", "", series)
    sizes = [f"{world:,}" for world in found]
    modes = markdown(["gloo connections of a rank", *sizes, "process groups"], building.rows_of_modes(found))
    beyond = [f"{size:,}?" for size in building.BEYOND]
    fits = [
        f"Of a rank, {what}:\n\n" + markdown(["", *sizes, "fit", *beyond], building.rows_of_fits(found, what))
        for what in (building.WORLD, building.ALL)
    ]
    return [modes, *fits]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replaced(text: str, name: str, new: str) -> str:
    r"""Return a page with other text between its two markers of a name.

    >>> replaced("a <!-- x -->b<!-- /x --> c", "x", "d")
    'a <!-- x -->\n\nd\n\n<!-- /x --> c'
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    return re.sub(pattern, lambda _: f"{begin}\n\n{new}\n\n{end}", text, flags=re.DOTALL)


def main() -> None:
    begun, load = time.monotonic(), os.getloadavg()[0]
    found = {world: agreement.series(world) for world in agreement.WORLDS}
    counts = building.counts(building.WORLDS)
    took = time.monotonic() - begun
    machine = f"{os.cpu_count()} cores at load average {load:.0f} before, {platform.system()}"
    versions = f"Python {platform.python_version()}, torch {version('torch')} with gloo"
    how = (
        f"`make bench-scale` measured the tables and plots of this page in {took:.0f} s on "
        f"{date.today()}: {machine}, {versions}."
    )
    text = PAGE.read_text(encoding="utf-8")
    text = replaced(text, "how", folded(how))
    text = replaced(text, "simulated", simulated(found))
    text = replaced(text, "measured", "\n\n".join(measured(counts)))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
