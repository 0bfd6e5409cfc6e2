"""Decisions that all ranks of a scope share: the first word that is written holds, and one rank gives the reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pgregistry.coordination.store import ScopedStore

#: `go`: all ranks go on. `differ`, `missing`: they do not, and one rank has still to find out why.
#: `failed`: they do not, and the reason is there already.
Word: TypeAlias = Literal["go", "differ", "missing", "failed"]

#: Seconds for the rank that composes the reason. After that each other rank offers a reason of its own.
COMPOSE: Final = 10.0
#: Seconds in which ranks that are alive answer a roll call. It is more than the pauses in which they look around.
ROLL_CALL: Final = 2.5


@dataclass(frozen=True, slots=True)
class Reason:
    """The text that every rank raises, and the ranks at fault."""

    text: str
    ranks: tuple[int, ...] = ()


class Decision:
    """One word that all ranks read, taken by compare-and-set.

    Whichever rank is the first to write the word or the reason, all ranks then hold the same two.
    A rank that dies while it composes the reason is replaced by the next that gives up on it.
    """

    def __init__(self, scope: ScopedStore, name: str) -> None:
        self._scope = scope
        self._key = name

    def take(self, word: Word) -> str:
        """Take the decision unless it is taken, and return the word that holds."""
        return self._scope.set_if_absent(self._key, word)

    def fail(self, reason: Reason) -> str:
        """Give a reason, decide that all ranks fail, and return the word that holds."""
        self._offer(reason)
        return self.take("failed")

    def taken(self) -> str | None:
        """Return the word that holds, or None if no rank has decided yet."""
        if not self._scope.has(self._key):
            return None
        return self._scope.wait_for(self._key, time.monotonic() + COMPOSE)

    def wait(self, until: float, look_around: Callable[[], None] = lambda: None) -> str | None:
        """Wait for the word until a time of `time.monotonic()`; return None then."""
        return self._scope.wait_for(self._key, until, look_around)

    def reason(self, word: str | None, compose: Callable[[], Reason]) -> Reason:
        """Return the reason that all ranks raise.

        One rank composes it, and the others read it, so the number of calls does not grow with the world.

        Args:
            word: The word that holds; the reason of `failed` is there already.
            compose: Returns the reason, if this is the rank that composes it.
        """
        if word != "failed" and self._scope.add(f"{self._key}/composing", 1) == 1:
            return self._offer(compose())
        text = self._scope.wait_for(f"{self._key}/reason", time.monotonic() + COMPOSE)
        return self._offer(compose()) if text is None else _read(text)

    def _offer(self, reason: Reason) -> Reason:
        return _read(self._scope.set_if_absent(f"{self._key}/reason", json.dumps([reason.text, reason.ranks])))


def _read(text: str) -> Reason:
    said, ranks = json.loads(text)
    return Reason(said, tuple(ranks))


def keys_of_decision(name: str) -> tuple[str, ...]:
    """Return the keys that a decision may leave in the store."""
    return name, f"{name}/composing", f"{name}/reason"


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
        entries = (self._scope.read([self._key], ROLL_CALL) or [""])[0].split()
        return {int(rank): note for rank, _, note in (entry.partition(":") for entry in entries)}

    def missing(self) -> list[int]:
        """Return the ranks of the scope that have not signed."""
        signed = self.signed()
        return [rank for rank in self._scope.ranks if rank not in signed]


class RollCall:
    """A question to all ranks, asked when time is up: which of them are still there."""

    def __init__(self, scope: ScopedStore, name: str) -> None:
        self._scope = scope
        self._roster = Roster(scope, name)
        self._key = name

    def answer(self) -> None:
        """Answer for this rank."""
        self._roster.sign()
        if self._scope.add(f"{self._key}/count", 1) == len(self._scope.ranks):
            self._scope.set(f"{self._key}/all", "")

    def missing(self) -> list[int]:
        """Wait until all ranks have answered or `ROLL_CALL` seconds are over, and return those that have not."""
        self._scope.wait_for(f"{self._key}/all", time.monotonic() + ROLL_CALL)
        return self._roster.missing()


def keys_of_roll_call(name: str) -> tuple[str, ...]:
    """Return the keys that a roll call may leave in the store."""
    return name, f"{name}/count", f"{name}/all"
