"""Groups as rows of letters: members of one group have the same letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from typing import Final

#: What stands for a member of no group.
NOBODY: Final = "."
#: Blocks of columns have a multiple of so many, as hosts mostly have.
STEP: Final = 8


def letters(
    head: Sequence[str],
    rows: Mapping[str, Sequence[int | None]],
    paint: Callable[[str, int], str] | None = None,
    width: int = 0,
) -> str:
    """Return a line for each row: its name, and under each column of the head the letter of an index.

    Columns that do not fit `width` follow below, in blocks with a head of their own.

    >>> print(letters(["rank", "0", "1", "2"], {"tensor": [0, 0, 26], "ends": [0, None, 0]}))
    rank    0  1  2
    tensor  a  a aa
    ends    a  .  a

    >>> print(letters(["rank", *"012"], {"ends": [0, None, 0]}, width=11))
    rank  0  1
    ends  a  .
    <BLANKLINE>
    rank  2
    ends  a

    Args:
        head: The head of the names, and of each column.
        rows: The indices of each row by its name; None for a dot.
        paint: Returns a cell as a terminal is to show it, from its text and index.
        width: The width to fit, with at least one column; 0 for no width.
    """
    shown = {name: list(map(letter, indices)) for name, indices in rows.items()}
    name_width = max(map(len, [head[0], *rows]))
    cell_width = max(3, *(1 + len(cell) for cells in (head[1:], *shown.values()) for cell in cells))
    blocks = []
    for start, stop in _blocks(len(head) - 1, (width - name_width) // cell_width if width else len(head)):
        lines = [head[0].ljust(name_width) + "".join(cell.rjust(cell_width) for cell in head[1:][start:stop])]
        for name, cells in shown.items():
            painted = (
                cell.rjust(cell_width)
                if index is None or paint is None
                else " " + paint(cell.rjust(cell_width - 1), index)
                for cell, index in zip(cells[start:stop], rows[name][start:stop], strict=True)
            )
            lines.append(name.ljust(name_width) + "".join(painted))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _blocks(columns: int, fitting: int) -> list[tuple[int, int]]:
    """Return the first column of each block, and the one after its last; blocks are multiples of 8 if those fit.

    >>> _blocks(20, 19), _blocks(20, 20), _blocks(3, 2)
    ([(0, 16), (16, 20)], [(0, 20)], [(0, 2), (2, 3)])
    """
    if fitting < columns:
        fitting = max(1, fitting - fitting % STEP if fitting >= STEP else fitting)
    return [(start, min(start + fitting, columns)) for start in range(0, columns, fitting)]


def letter(index: int | None) -> str:
    """Return `a` to `z`, then `aa`, `ab` and so on; a dot for None.

    >>> letter(0), letter(25), letter(26), letter(None)
    ('a', 'z', 'aa', '.')
    """
    if index is None:
        return NOBODY
    higher, last = divmod(index, len(ascii_lowercase))
    return (letter(higher - 1) if higher else "") + ascii_lowercase[last]
