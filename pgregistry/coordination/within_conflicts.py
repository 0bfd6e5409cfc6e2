"""Ranks that wait for one another with different lists of `within`, and so would never meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pgregistry.coordination.decision import Decision, Reason, fail_call
from pgregistry.coordination.store.codec import MOST_CALLS, decode, encode, read_call, read_number
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
    leaves its error, and is answered why the others stop.
    """

    def __init__(self, scope: ScopedStore) -> None:
        self._scope = scope
        self._all = scope.everybody
        self._noted = False
        self._elsewhere: dict[int, tuple[str, bool]] = {}  # the call of each rank found, and whether it has no list

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
        if not there and (texts := self._common.read([_answer(self._scope.rank)], READ)):
            self._common.delete(_answer(self._scope.rank))
            self.count_calls(self._common.parse(_answer(self._scope.rank), texts[0], Reason.decode))
        return not there

    def outlive(self, ranks: Sequence[int], until: float) -> None:
        """Wait until these ranks, if they wait with a list, have read why no rank will come.

        The rank that hosts the store calls this before it leaves.
        """
        for rank in ranks[:NOTES]:
            while self._common.has(_note(rank)) and time.monotonic() < until:
                time.sleep(POLL)

    def find(self, missing: Sequence[int]) -> Reason | None:
        """Return why these ranks will not come here, if some of them wait for a rank that waits here.

        `init` blocks, so neither can go to the other.
        """
        absent, lines = set(missing), dict[int, str]()
        here = [rank for rank in self._scope.ranks if rank not in absent]
        self._elsewhere = {}
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
            lines[rank] = f"failed with {ranks}" if isinstance(ranks, str) else format_ranks(ranks)
            self._elsewhere[rank] = (name, isinstance(ranks, str))
        if not lines:
            return None
        sides = [(here, "all ranks" if self._all else format_ranks(self._scope.ranks))]
        sides += [([rank], theirs) for rank, theirs in lines.items()]
        return Reason(
            "The ranks disagree about what to build; nothing was created.\n  within:"
            + "".join(f"\n    {format_ranks(ranks)}: {said}" for ranks, said in sides),
            tuple(lines),
            mismatch=True,
            calls=(self._scope.name, *dict.fromkeys(name for name, _ in self._elsewhere.values())),
        )

    def end(self, reason: Reason) -> None:
        """End this call for a reason that was found, and those in which the ranks of other lists wait.

        Others may find one at the same time. All begin with the same call, and go on with the reason that it has.
        """
        waiting = {name for name, failed in self._elsewhere.values() if not failed}
        for call in sorted({self._scope.name, *waiting}):
            _, held = fail_call(self._scope.beside(call), reason)
            reason = held if held.calls else reason
        for rank, (_, failed) in self._elsewhere.items():
            if failed:
                self._common.set(_answer(rank), reason.encode())
                self._common.delete(_note(rank))

    def count_calls(self, reason: Reason) -> None:
        """Count the other calls that were ended for a reason too, so that this rank is not one behind in any."""
        for call in reason.calls:
            calls, number = self._scope.beside(call).of_all_calls()
            count = partial(calls.count, f"calls/{self._scope.rank}", read=partial(read_number, 0, MOST_CALLS))
            if call != self._scope.name and (missed := number - count(0)) > 0:
                count(missed)

    def _write(self, ranks: list[int] | str) -> None:
        self._common.set(_note(self._scope.rank), encode([self._scope.name, ranks]))
        self._noted = True


def _note(rank: int) -> str:
    return f"within/{rank}"


def _answer(rank: int) -> str:
    return f"within/{rank}/answer"


def _read(text: str) -> tuple[str, list[int] | str]:
    """Return the name of a scope with its ranks, or with the error of a rank that has no list."""
    name, ranks = decode(text)
    known = isinstance(ranks, str) or (ranks and all(isinstance(rank, int) for rank in ranks))
    if not isinstance(name, str) or not known:
        raise TypeError(text)
    read_call(name)
    return name, ranks
