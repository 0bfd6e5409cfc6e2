"""Lists that ranks sign in the store, and counts: how one rank finds out which ranks are there."""

from __future__ import annotations

import hashlib
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

#: The bits of one number in the store that count ranks. The others hold a sum.
BITS: Final = 20
#: The bits of a number in the store that are used, of 64.
USED: Final = 63
#: Bits that are left free for parts of ranks that take the world for smaller, which are longer.
FREE: Final = 2


@dataclass(frozen=True, slots=True)
class Tally:
    """The ranks that have come, and the sum of one part of each: one call adds those of a rank and reads all.

    Attributes:
        came: How many ranks have come.
        total: The sum of their parts.
    """

    came: int
    total: int

    @staticmethod
    def part(digest: str, ranks: int) -> int:
        """Return a part of a hash of a digest, so short that the sum of those of all ranks cannot overflow.

        >>> Tally.part("0123", ranks=4) == Tally.part("0123", ranks=4) != Tally.part("0124", ranks=4)
        True
        """
        width = USED - BITS - FREE - ranks.bit_length()
        return int.from_bytes(hashlib.blake2b(digest.encode(), digest_size=8).digest(), "big") >> 64 - width

    @staticmethod
    def addend(part: int) -> int:
        """Return the number that a rank with this part adds.

        >>> Tally.read(str(Tally.addend(5) + Tally.addend(5)))
        Tally(came=2, total=10)
        """
        return 1 + (part << BITS)

    @staticmethod
    def read(text: str) -> Tally:
        """Return the tally in the number that the store holds; raise ValueError if it cannot be one."""
        if not 0 <= (number := int(text)) < 1 << USED:
            raise ValueError(f"{number:.100}")
        return Tally(number & (1 << BITS) - 1, number >> BITS)


class Roster:
    """A list in the store that ranks sign: one call to sign, one to read it, however many ranks there are.

    Args:
        scope: The scope of the ranks.
        name: The key of the list.
        others: Whether ranks that this rank does not count may sign too: they take the world for larger.
    """

    def __init__(self, scope: ScopedStore, name: str, *, others: bool = False) -> None:
        self._scope = scope
        self._key = name
        self._others = others

    def sign(self, note: str = "") -> None:
        """Sign with this rank, and with a note without spaces."""
        self._scope.append(self._key, f"{self._scope.rank}:{note} ")

    def signed(self) -> dict[int, str]:
        """Return the ranks that have signed, each with its note, in the order in which they came."""
        return self.read(str)

    def read(self, meaning: Callable[[str], Meaning], least: int = 0) -> dict[int, Meaning]:
        """Return the ranks that have signed, each with the meaning of its note; see `ScopedStore.parse`.

        Args:
            meaning: Returns the meaning.
            least: How many ranks must have signed. If fewer have, none is returned, and no note is read.
        """
        texts = self._scope.read([self._key], ROLL_CALL)
        if texts is None and self._scope.has(self._key):  # the store is busy
            texts = self._scope.read([self._key], ANSWER)
        text = (texts or [""])[0]
        if text.count(" ") < least:
            return {}
        return self._scope.parse(self._key, text, partial(self._entries, meaning))

    def _entries(self, meaning: Callable[[str], Meaning], text: str) -> dict[int, Meaning]:
        signed = entries(meaning, text)
        if not self._others and not signed.keys() <= set(self._scope.ranks):
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
