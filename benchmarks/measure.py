"""Timing, fresh processes, memory and tables for all benchmarks."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # before torch is imported; warnings would break into the tables


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def repeated(call: Callable[[], object], repeats: int = 15, at_least: float = 0.005) -> float:
    """Return the median seconds of one call; a repeat makes so many calls that it lasts `at_least`."""
    timer = timeit.Timer(call)
    number = 1
    while timer.timeit(number) < at_least:
        number *= 2
    return median(timer.repeat(repeats, number)) / number


def environment() -> dict[str, str]:
    """Return the environment of this process, without what would change a plan or keep modules uncompiled.

    An installer compiles what it installs, so a start that compiles everything anew is not what a user has.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PGREGISTRY") and name != "PYTHONDONTWRITEBYTECODE"
    }


def child(script: str, part: str, *arguments: object, seconds: float | None = None) -> Any:
    """Return what one part of a script prints in a process of its own; None if it fails or takes too long."""
    command = [sys.executable, script, part, json.dumps(arguments)]
    try:
        done = subprocess.run(
            command, env=environment(), timeout=seconds, check=True, stdout=subprocess.PIPE, text=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def run(show: Callable[[], None], parts: Mapping[str, Callable[..., Any]]) -> None:
    """Run a script: all of it, or as a child one part, which prints its answer."""
    if len(sys.argv) == 3 and sys.argv[1] in parts:
        print(json.dumps(parts[sys.argv[1]](*json.loads(sys.argv[2]))))
    else:
        show()


def peak_rss() -> float:
    """Return the most memory that this process has had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts on Linux what the parent had before exec
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def duration(seconds: float) -> str:
    """Format seconds."""
    for unit, one in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= one:
            return f"{seconds / one:.2f} {unit}"
    return f"{seconds * 1e6:.2f} µs"


def mib(amount: float) -> str:
    """Format a number of MiB."""
    return f"{amount:.1f} MiB"


def show(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], *notes: str) -> None:
    """Print one table, with where it was measured."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    for note in notes:
        console.print(note, markup=False)
    console.print(
        f"(Python {platform.python_version()}, torch {version('torch')}, {os.cpu_count()} cores at load average "
        f"{os.getloadavg()[0]:.1f}; medians)\n",
        style="dim",
    )
