"""Plain rows and cells as aligned text."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Final

#: Spaces between two columns where there is room for them.
GAP: Final = 3


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str] | str], *, right: Sequence[str] = (), width: int = 0
) -> str:
    """Return a table without a frame. Cells are folded between words to fit `width`, but no word is ever cut.

    >>> print(table(["mode", "over"], [["model", "pipe, tensor"]]))
    mode    over
    model   pipe, tensor
    >>> print(table(["mode", "over"], [["model", "pipe, tensor"]], width=15))
    mode    over
    model   pipe,
            tensor

    Args:
        columns: The heads of the columns.
        rows: The cells of each row, one for each column; a text is a line of its own.
        right: The columns that are aligned to the right.
        width: The width to fit; 0 for no width. A table whose words need more is wider.
    """
    lines = [columns, *rows]
    cells = [row for row in lines if not isinstance(row, str)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    least = [max(len(word) for cell in column for word in cell.split() or [""]) for column in zip(*cells, strict=True)]
    gap = 1 if width and sum(least) + GAP * (len(least) - 1) > width else GAP
    while width and sum(widths) + gap * (len(widths) - 1) > width and widths != least:
        widest = max(range(len(widths)), key=lambda at: (widths[at] > least[at], widths[at]))
        widths[widest] -= 1
    folded_lines = []
    for row in lines:
        if isinstance(row, str):
            folded_lines.append(row)
            continue
        folded = [
            wrap(cell, size, break_long_words=False, break_on_hyphens=False) if len(cell) > size else [cell]
            for cell, size in zip(row, widths, strict=True)
        ]
        for parts in zip_longest(*folded, fillvalue=""):
            aligned = (
                part.rjust(size) if name in right else part.ljust(size)
                for name, part, size in zip(columns, parts, widths, strict=True)
            )
            folded_lines.append((" " * gap).join(aligned).rstrip())
    return "\n".join(folded_lines)


def terminal_width() -> int:
    """Return the width of the terminal that stdout is, or 0, which means none, for a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
