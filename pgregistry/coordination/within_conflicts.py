"""Ranks that wait for one another with different lists of `within`, and so would never meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from pgregistry.coordination.decision import Decision, Reason
from pgregistry.coordination.store.codec import decode, encode
from pgregistry.coordination.store.scoped_store import SLICE, ScopedStore
from pgregistry.errors import format_ranks

#: Missing ranks whose notes are read, so that the number of calls does not grow with the world.
NOTES: Final = 8
#: Seconds in which a note is read.
READ: Final = 1.0
#: Seconds between two looks at a note that is about to go.
POLL: Final = 0.02


class WithinConflicts:
    """The notes of ranks that wait with a list of `within`, which ranks of other lists can read.

    Ranks that wait for all ranks leave no note: those with a list are found by them. One that cannot read its list
    leaves its error.
    """

    def __init__(self, scope: ScopedStore) -> None:
        self._scope = scope
        self._all = scope.everybody
        self._noted = False

    @property
    def _common(self) -> ScopedStore:
        return self._scope.common()

    def note(self) -> None:
        """Leave a note that this rank waits."""
        if not self._all:
            self._write(list(self._scope.ranks))

    def forget(self) -> None:
        """Take the note back, when this rank goes on or has read why it does not."""
        if self._noted:
            self._noted = False
            self._common.delete(_note(self._scope.rank))

    def quote(self, error: str, all_came: Callable[[], bool]) -> bool:
        """Leave a note why this rank comes nowhere, until one that waits with a list has read it or all have come here.

        Ranks that wait look every `SLICE` seconds, so it stays for a little longer.

        Returns:
            Whether one that waits with a list has read it.
        """
        self._write(error)
        until, pause = time.monotonic() + SLICE + 2 * READ, POLL
        while (there := self._common.has(_note(self._scope.rank))) and not all_came() and time.monotonic() < until:
            time.sleep(pause)
            pause = min(2 * pause, READ / 2)
        self.forget()
        return not there

    def outlive(self, ranks: Sequence[int], until: float) -> None:
        """Wait until these ranks, if they wait with a list, have read why no rank will come.

        The rank that hosts the store calls this before it leaves.
        """
        for rank in ranks[:NOTES]:
            while self._common.has(_note(rank)) and time.monotonic() < until:
                time.sleep(POLL)

    def find(self, missing: Sequence[int]) -> Reason | None:
        """Return why these ranks will not come here, if one of them waits for a rank that waits here.

        `init` blocks, so neither can go to the other. The ranks that wait elsewhere are given the same reason.
        """
        absent = set(missing)
        here = [rank for rank in self._scope.ranks if rank not in absent]
        for rank in missing[:NOTES]:
            texts = self._common.read([_note(rank)], READ) if self._common.has(_note(rank)) else None
            if texts is None:
                continue  # there is no note, or the wait ended just now
            name, ranks = self._common.parse(_note(rank), texts[0], _read)
            there = Decision(self._scope.beside(name), "agreement")
            if name == self._scope.name:
                continue  # it has only to wake up
            if not isinstance(ranks, str) and (set(ranks).isdisjoint(here) or there.taken()):
                continue  # it waits for others and may still come
            mine = "all ranks" if self._all else format_ranks(self._scope.ranks)
            theirs = f"failed with {ranks}" if isinstance(ranks, str) else format_ranks(ranks)
            reason = Reason(
                "The ranks disagree about what to build; nothing was created.\n  within:\n"
                f"    {format_ranks(here)}: {mine}\n    {format_ranks([rank])}: {theirs}",
                (rank,),
                mismatch=True,
            )
            if isinstance(ranks, str):
                self._common.delete(_note(rank))
            else:
                there.fail(reason)
            return reason
        return None

    def _write(self, ranks: list[int] | str) -> None:
        self._common.set(_note(self._scope.rank), encode([self._scope.name, ranks]))
        self._noted = True


def _note(rank: int) -> str:
    return f"within/{rank}"


def _read(text: str) -> tuple[str, list[int] | str]:
    """Return the name of a scope with its ranks, or with the error of a rank that has no list."""
    name, ranks = decode(text)
    known = isinstance(ranks, str) or (ranks and all(isinstance(rank, int) for rank in ranks))
    if not isinstance(name, str) or not known:
        raise TypeError(text)
    return name, ranks
