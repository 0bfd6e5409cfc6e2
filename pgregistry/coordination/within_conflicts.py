"""Ranks that wait for one another with different lists of `within`, and so would never meet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final, TypeAlias

from pgregistry.coordination.store import Board, LostError
from pgregistry.errors import format_ranks

#: The ranks of a list as runs, first and last; None for all ranks.
Runs: TypeAlias = list[list[int]] | None

APART: Final = "The ranks disagree about what to build; nothing was created.\n  within:\n"


class Crossing:
    """Where this rank waits, said to ranks that wait elsewhere, and what they say.

    A rank says so only once it has waited for some seconds, so ranks that meet at once make no
    call for it. Two ranks that each wait for the other in another list both wait until
    `agree_timeout`: `init` blocks, so neither can come. One that only waits elsewhere, for
    others, may still come.

    Attributes:
        said: Whether this rank has waited so long that it said so.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self.said = False
        self._before: dict[int, tuple[str, Runs]] = {}

    def say(self) -> None:
        """Say where this rank waits."""
        if not self.said:
            self.said = True
            self._board.post(json.dumps([self._board.name, self._runs()]))

    def end(self) -> None:
        """Take it back: this rank does not wait any more."""
        if self.said:
            with suppress(LostError, RuntimeError):
                self._board.post("")

    def find(self, missing: Sequence[int]) -> tuple[str, list[str]]:
        """Who waits elsewhere for a rank that waits for it here, for people, and the names of the boards there.

        Nothing where nobody does, or only just now.
        """
        absent = set(missing)
        here = [rank for rank in self._board.ranks if rank not in absent]
        found: dict[int, tuple[str, Runs]] = {}
        for rank in missing:
            name, theirs = json.loads(self._board.posted(rank) or "[null, []]")
            if name and (theirs is None or any(low <= one <= high for one in here for low, high in theirs)):
                found[rank] = (name, theirs)
        # What one says may be a moment old; what it says twice holds.
        lasting = {rank: one for rank, one in found.items() if self._before.get(rank) == one}
        self._before = found
        if not lasting:
            return "", []
        mine = (self._board.name, self._runs())
        same = any(theirs == mine[1] for _, theirs in lasting.values())  # but not in the same call
        sides = {_text(*mine, same): here}
        for rank, (name, theirs) in lasting.items():
            sides.setdefault(_text(name, theirs, same), []).append(rank)
        lines = [f"    {format_ranks(ranks)}: {said}" for said, ranks in sides.items()]
        return APART + "\n".join(lines), [name for name, _ in lasting.values()]

    def _runs(self) -> Runs:
        return None if self._board.everybody else _runs(self._board.ranks)


def _runs(ranks: Iterable[int]) -> list[list[int]]:
    """Runs of ranks that follow one another, first and last.

    >>> _runs([0, 1, 2, 5])
    [[0, 2], [5, 5]]
    """
    together = [[rank for _, rank in run] for _, run in groupby(enumerate(ranks), lambda pair: pair[1] - pair[0])]
    return [[run[0], run[-1]] for run in together]


def _text(name: str, runs: Runs, tell_call: bool) -> str:
    ranks = "all ranks" if runs is None else format_ranks(rank for low, high in runs for rank in range(low, high + 1))
    return ranks + f", call {name.rpartition('/')[2]} of init" * tell_call
