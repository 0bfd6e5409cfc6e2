"""Plain rows and cells as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table without a frame: each line begins with its first cell. Columns in `right` are right-aligned."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


def show(*parts: str | Table) -> None:
    """Print lines and tables on stdout, without spaces at the end of a line."""
    for part in parts:
        if isinstance(part, str):
            print(part)
            continue
        # A pipe has no width, so lines are not folded.
        out = Console(width=None if sys.stdout.isatty() else 240, highlight=False, soft_wrap=False)
        with out.capture() as captured:
            out.print(part)
        for line in captured.get().splitlines():
            print(line.rstrip())
