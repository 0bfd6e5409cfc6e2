"""Ranks that wait for one another with different lists of `within`, and so would never meet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from pgregistry.board import Board, LostError
from pgregistry.difference import within
from pgregistry.spans import spans


class Crossing:
    """Where this rank waits, said to ranks that wait elsewhere, and what they say.

    A rank says so only once it has waited for some seconds, so ranks that meet at once make no
    call for it. Two ranks that each wait for the other in another list will wait for ever: `init`
    blocks, so neither can come. One that only waits elsewhere, for others, may still come.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._said = False
        self._before: dict[int, tuple[str, list[int] | None]] = {}

    def say(self) -> None:
        """Say where this rank waits."""
        if not self._said:
            self._said = True
            self._board.post(json.dumps([self._board.name, self._list()]))

    def end(self) -> None:
        """Take it back: this rank does not wait any more."""
        if self._said:
            with suppress(LostError):
                self._board.post("")

    def find(self, missing: Sequence[int]) -> tuple[str, list[str]]:
        """Who waits elsewhere for a rank that waits for it here, for people, and the names of the boards there.

        Nothing where nobody does, or only just now.
        """
        here = [rank for rank in self._board.ranks if rank not in missing]
        found: dict[int, tuple[str, list[int] | None]] = {}
        for rank in missing:
            name, theirs = json.loads(self._board.posted(rank) or "[null, []]")
            if name and (theirs is None or not set(theirs).isdisjoint(here)):
                found[rank] = (name, theirs)
        # What one says may be a moment old; what it says twice holds.
        lasting = {rank: one for rank, one in found.items() if self._before.get(rank) == one}
        self._before = found
        if not lasting:
            return "", []
        mine = (self._board.name, self._list())
        same = any(theirs == mine[1] for _, theirs in lasting.values())  # but not in the same call
        sides = {_text(*mine, same): here}
        for rank, (name, theirs) in lasting.items():
            sides.setdefault(_text(name, theirs, same), []).append(rank)
        lines = [f"    {spans(ranks)}: {said}" for said, ranks in sides.items()]
        text = "\n".join(["The ranks disagree about what to build; nothing was created.", "  within:", *lines])
        return text, [name for name, _ in lasting.values()]

    def _list(self) -> list[int] | None:
        return None if self._board.everybody else list(self._board.ranks)


def _text(name: str, ranks: list[int] | None, tell_call: bool) -> str:
    return within(ranks) + f", call {name.rpartition('/')[2]} of init" * tell_call
