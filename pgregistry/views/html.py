"""Plain rows and cells as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    >>> html_table(["mode", "over"], [["model", "pipe & tensor"]])
    '<table><tr><th>mode</th><th>over</th></tr><tr><td>model</td><td>pipe &amp; tensor</td></tr></table>'
    """
    lines = [("th", columns), *(("td", row) for row in rows)]
    cells = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in lines)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
