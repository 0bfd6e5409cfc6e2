"""Groups as rows of letters: members of one group have the same letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from typing import Final

#: What stands for a member of no group.
NOBODY: Final = "."


def letters(
    head: Sequence[str],
    rows: Mapping[str, Sequence[int | None]],
    paint: Callable[[str, int], str] | None = None,
) -> str:
    """Return a line for each row: its name, and under each column of the head the letter of an index.

    >>> print(letters(["rank", "0", "1", "2"], {"tensor": [0, 0, 26], "ends": [0, None, 0]}))
    rank    0  1  2
    tensor  a  a aa
    ends    a  .  a

    Args:
        head: The head of the names, and of each column.
        rows: The indices of each row by its name; None for a dot.
        paint: Returns a cell as a terminal is to show it, from its text and index.
    """
    shown = {name: list(map(letter, indices)) for name, indices in rows.items()}
    name_width = max(map(len, [head[0], *rows]))
    width = max(3, *(1 + len(cell) for cells in (head[1:], *shown.values()) for cell in cells))
    lines = [head[0].ljust(name_width) + "".join(cell.rjust(width) for cell in head[1:])]
    for name, cells in shown.items():
        painted = (
            cell.rjust(width) if index is None or paint is None else " " + paint(cell.rjust(width - 1), index)
            for cell, index in zip(cells, rows[name], strict=True)
        )
        lines.append(name.ljust(name_width) + "".join(painted))
    return "\n".join(lines)


def letter(index: int | None) -> str:
    """Return `a` to `z`, then `aa`, `ab` and so on; a dot for None.

    >>> letter(0), letter(25), letter(26), letter(None)
    ('a', 'z', 'aa', '.')
    """
    if index is None:
        return NOBODY
    higher, last = divmod(index, len(ascii_lowercase))
    return (letter(higher - 1) if higher else "") + ascii_lowercase[last]
