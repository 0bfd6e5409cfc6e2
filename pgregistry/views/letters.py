"""Groups as rows of letters: members of one group have the same letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Final

#: What stands for a member of no group.
NOBODY: Final = "."


def letters(head: Sequence[str], rows: Mapping[str, Sequence[int | None]]) -> str:
    """Return a line for each row: its name, and under each column of the head the letter of an index.

    >>> print(letters(["rank", "0", "1", "2"], {"tensor": [0, 0, 26], "ends": [0, None, 0]}))
    rank    0  1  2
    tensor  a  a aa
    ends    a  .  a
    """
    lines = [list(head), *([name, *map(letter, indices)] for name, indices in rows.items())]
    name_width = max(len(line[0]) for line in lines)
    cell_width = max(3, *(1 + len(cell) for line in lines for cell in line[1:]))
    return "\n".join(line[0].ljust(name_width) + "".join(cell.rjust(cell_width) for cell in line[1:]) for line in lines)


def letter(index: int | None) -> str:
    """Return `a` to `z`, then `aa`, `ab` and so on; a dot for None.

    >>> letter(0), letter(25), letter(26), letter(None)
    ('a', 'z', 'aa', '.')
    """
    if index is None:
        return NOBODY
    higher, last = divmod(index, len(ascii_lowercase))
    return (letter(higher - 1) if higher else "") + ascii_lowercase[last]
