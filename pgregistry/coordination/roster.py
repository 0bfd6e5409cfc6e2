"""Lists that ranks sign in the store, and counts: how one rank finds out which ranks are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from pgregistry.coordination.store.connections import ANSWER
from pgregistry.coordination.store.scoped_store import ScopedStore

Meaning = TypeVar("Meaning")

#: Seconds in which ranks that are alive answer a roll call. It is more than the pauses in which they look around.
ROLL_CALL: Final = 2.5

#: Counts are fields of one number in the store, so that one call changes one and reads all.
BITS: Final = 20


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of ranks: those that have come, those of them that differ in anything, those that left after an error.

    >>> Tally.read(str(3 + (1 << BITS)), ranks=4)
    Tally(came=3, differ=1, left=0)
    """

    came: int
    differ: int
    left: int

    @staticmethod
    def read(text: str, ranks: int) -> Tally:
        """Return the counts in the number that the store holds; raise ValueError if these are not counts of ranks."""
        number, mask = int(text), (1 << BITS) - 1
        tally = Tally(number & mask, number >> BITS & mask, number >> 2 * BITS)
        if not 0 <= tally.differ <= tally.came <= ranks or not 0 <= tally.left <= ranks:
            raise ValueError(f"{tally} of {ranks} ranks")
        return tally


class Roster:
    """A list in the store that ranks sign: one call to sign, one to read it, however many ranks there are."""

    def __init__(self, scope: ScopedStore, name: str) -> None:
        self._scope = scope
        self._key = name

    def sign(self, note: str = "") -> None:
        """Sign with this rank, and with a note without spaces."""
        self._scope.append(self._key, f"{self._scope.rank}:{note} ")

    def signed(self) -> dict[int, str]:
        """Return the ranks that have signed, each with its note, in the order in which they came."""
        return self.read(str)

    def read(self, meaning: Callable[[str], Meaning]) -> dict[int, Meaning]:
        """Return the ranks that have signed, each with the meaning of its note; see `ScopedStore.parse`."""
        texts = self._scope.read([self._key], ROLL_CALL)
        if texts is None and self._scope.has(self._key):  # the store is busy
            texts = self._scope.read([self._key], ANSWER)
        text = (texts or [""])[0]
        return self._scope.parse(self._key, text, partial(self._entries, meaning))

    def _entries(self, meaning: Callable[[str], Meaning], text: str) -> dict[int, Meaning]:
        signed = entries(meaning, text)
        if not signed.keys() <= set(self._scope.ranks):
            raise ValueError("ranks that do not take part")
        return signed

    def missing(self) -> list[int]:
        """Return the ranks of the scope that have not signed."""
        signed = self.signed()
        return [rank for rank in self._scope.ranks if rank not in signed]


def entries(meaning: Callable[[str], Meaning], text: str) -> dict[int, Meaning]:
    """Return the ranks in the text of a list, each with the meaning of its note.

    >>> entries(str.upper, "0:a 3:b ")
    {0: 'A', 3: 'B'}
    """
    return {int(rank): meaning(note) for rank, _, note in (entry.partition(":") for entry in text.split())}


class RollCall:
    """A question to all ranks, asked when time is up: which of them are still there."""

    def __init__(self, scope: ScopedStore, name: str) -> None:
        self._scope = scope
        self._roster = Roster(scope, name)
        self._key = name

    def answer(self) -> None:
        """Answer for this rank."""
        self._roster.sign()
        if self._scope.count_ranks(f"{self._key}/count") == len(self._scope.ranks):
            self._scope.set(f"{self._key}/all", "")

    def missing(self) -> list[int]:
        """Wait until all ranks have answered or `ROLL_CALL` seconds are over, and return those that have not."""
        self._scope.wait_for(f"{self._key}/all", time.monotonic() + ROLL_CALL)
        return self._roster.missing()


def keys_of_roll_call(name: str) -> tuple[str, ...]:
    """Return the keys that a roll call may leave in the store."""
    return name, f"{name}/count", f"{name}/all"
