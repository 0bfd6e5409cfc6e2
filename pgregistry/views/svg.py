"""Rows of letters as a still picture in SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from pgregistry.views.letters import letter
from pgregistry.views.palette import PALETTE, fills

#: The width and height of a cell, in pixels.
CELL: Final = 22
#: So many columns are side by side. Those after them are below.
COLUMNS: Final = 64
#: The width of a character of a name, in pixels.
CHARACTER: Final = 7.5

STYLE: Final = f"""{fills(".cell", "fill")}
svg {{ background: #fff; }}
text {{ font: 12px system-ui, sans-serif; fill: #1a1a1a; }}
.middle {{ text-anchor: middle; }}
.soft, .rank {{ fill: #5c5c5c; }}
.rank {{ font-size: 10px; }}
.line {{ stroke: #8a8a8a; }}
.none {{ fill: none; }}
@media (prefers-color-scheme: dark) {{
svg {{ background: #16181c; }}
text.name {{ fill: #eee; }}
.soft, .rank {{ fill: #aaa; }}
}}"""


def svg_rows(
    head: Sequence[str],
    rows: Mapping[str, Sequence[int | None]],
    frames: Sequence[Sequence[str]],
    title: str,
    note: str = "",
) -> str:
    """Return a picture with a row for each name, and under each column of the head the colour and letter of an index.

    >>> svg_rows(["0", "1"], {"tensor": [0, None]}, [["host 0", "host 0"]], "2 ranks").count("<rect")
    2

    Args:
        head: The head of each column.
        rows: The index of each cell by the name of its row; None for a cell without colour.
        frames: Above the head, a line of labels for each level. Columns with the same label have a bracket together.
        title: What it shows.
        note: A line below it.
    """
    left = round(max(len(name) for name in ("rank", *rows)) * CHARACTER) + 18
    band = 20 * len(frames) + 18 + CELL * len(rows) + 16
    starts = range(0, len(head), COLUMNS)
    width = left + CELL * min(len(head), COLUMNS) + 10
    height = 34 + band * len(starts) + (20 if note else 0)
    drawn = [_text(8, 20, title, "name")]
    for number, start in enumerate(starts):
        stop = start + COLUMNS
        part = {name: cells[start:stop] for name, cells in rows.items()}
        drawn += _band(head[start:stop], part, [labels[start:stop] for labels in frames], left, 34 + band * number)
    drawn += [_text(8, height - 8, note, "soft")] if note else []
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    about = f'role="img" aria-label="{escape(title)}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {about}>', f"<style>{STYLE}</style>", *drawn, "</svg>\n"]
    )


def _band(
    head: Sequence[str],
    rows: Mapping[str, Sequence[int | None]],
    frames: Sequence[Sequence[str]],
    left: int,
    top: int,
) -> list[str]:
    """Return the elements of columns that are side by side."""
    drawn = []
    for labels in frames:
        first = 0
        for column in range(1, len(labels) + 1):
            if column == len(labels) or labels[column] != labels[first]:
                low, high = left + CELL * first + 2, left + CELL * column - 3
                drawn.append(f'<path class="none line" d="M{low} {top + 18}v-4h{high - low}v4"/>')
                if CHARACTER * len(labels[first]) < CELL * (column - first):
                    drawn.append(_text((low + high) // 2, top + 11, labels[first], "soft middle"))
                first = column
        top += 20
    drawn.append(_text(8, top + 13, "rank", "soft"))
    drawn += [_text(left + CELL * at + CELL // 2, top + 13, name, "rank middle") for at, name in enumerate(head)]
    top += 18
    for name, cells in rows.items():
        drawn.append(_text(8, top + 15, name, "name"))
        for at, index in enumerate(cells):
            x, middle = left + CELL * at, left + CELL * at + CELL // 2
            fill = "none line" if index is None else f"cell c{index % len(PALETTE)}"
            drawn.append(f'<rect class="{fill}" x="{x}" y="{top}" width="{CELL - 1}" height="{CELL - 1}" rx="3"/>')
            if index is not None:
                drawn.append(_text(middle, top + 15, letter(index), "middle"))
        top += CELL
    return drawn


def _text(x: float, y: float, text: str, kind: str) -> str:
    # A text that is wider than a cell, as rank 1000, is squeezed into it.
    wide = kind == "rank middle" and len(text) > 3
    squeezed = f' textLength="{CELL - 3}" lengthAdjust="spacingAndGlyphs"' if wide else ""
    return f'<text class="{kind}" x="{x:g}" y="{y}"{squeezed}>{escape(text)}</text>'
