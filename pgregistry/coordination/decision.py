"""Decisions that all ranks of a scope share: the first value that is written holds, and one rank gives the reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from pgregistry.coordination.store.codec import read_call, read_json, read_number
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, PgregistryError, PlanMismatch, format_ranks

Result = TypeVar("Result")

#: `go`: all ranks go on. `compare`: ranks are to compare, and another decision follows. `missing`: they do not go on,
#: and one rank has still to find out why. `failed`: they do not, and the reason came with it.
Value: TypeAlias = Literal["go", "compare", "missing", "failed"]
VALUES: Final[tuple[Value, ...]] = get_args(Value)

#: Seconds for the rank that composes the reason, and how many try in turn. After that each rank offers one of its own.
COMPOSE: Final = 10.0
TURNS: Final = 3
#: No rank chooses a number above this one.
MOST: Final = 10**6


@dataclass(frozen=True, slots=True)
class Reason:
    """The error that every rank raises.

    Attributes:
        text: Its text.
        ranks: The ranks at fault.
        mismatch: True for a PlanMismatch, False for a BuildError.
        calls: The calls of `init` that it ends, by the names of their scopes, if ranks came to several.
    """

    text: str
    ranks: tuple[int, ...] = ()
    mismatch: bool = False
    calls: tuple[str, ...] = ()

    @staticmethod
    def of(error: PgregistryError) -> Reason:
        """Return the reason that makes all ranks raise an error."""
        return Reason(str(error), error.ranks, isinstance(error, PlanMismatch))

    def error(self) -> PlanMismatch | BuildError:
        """Return the error."""
        return (PlanMismatch if self.mismatch else BuildError)(self.text, ranks=self.ranks)

    @staticmethod
    def decode(text: str) -> Reason:
        """Return the reason that `encode` made text of; raise what Python raises if it is not one."""
        reason, ranks, mismatch, calls = read_json(text)
        if not isinstance(reason, str) or not all(isinstance(rank, int) for rank in ranks):
            raise TypeError(text)
        for call in calls:
            read_call(call)
        return Reason(reason, tuple(ranks), bool(mismatch), tuple(calls))

    def encode(self) -> str:
        """Return the reason as text for the store."""
        return json.dumps([self.text, self.ranks, self.mismatch, self.calls])


class Decision:
    """One value that all ranks read, taken by compare-and-set.

    Whichever rank is the first to write the value or the reason, all ranks then hold the same two.
    A rank that dies while it composes the reason is replaced by the next that gives up on it.

    Attributes:
        number: The number that the rank which took the decision chose for all, when this rank has read it.
        text: The note with which it was taken, as it stands in the store; see `note`.
    """

    def __init__(self, scope: ScopedStore, name: str) -> None:
        self._scope = scope
        self._key = name
        self.number = 0
        self.text = ""

    def take(self, value: Value, number: int = 0, note: str = "") -> Value:
        """Take the decision, with a number and a note, unless it is taken; return the value that holds."""
        text = f"{value} {number} {note}" if number or note else value
        return self._read(self._scope.set_if_absent(self._key, text))

    def fail(self, reason: Reason) -> Value:
        """Decide that all ranks fail, for a reason, and return the value that holds.

        If ranks have decided that one is missing, the reason is offered in place of the one that they would compose.
        """
        value = self.take("failed", note=reason.encode())
        if value == "missing":
            self._offer(reason)
        return value

    def taken(self) -> Value | None:
        """Return the value that holds, or None if no rank has decided yet."""
        if not self._scope.has(self._key):
            return None
        return self.wait(time.monotonic() + COMPOSE)

    def wait(self, until: float, look_around: Callable[[], None] = lambda: None) -> Value | None:
        """Wait for the value until a time of `time.monotonic()`; return None then."""
        text = self._scope.wait_for(self._key, until, look_around)
        return None if text is None else self._read(text)

    def elect(self, take: Callable[[], Value], seconds: float) -> Value:
        """Return the value that holds. One rank takes the decision, and the next does if it does not come back.

        Args:
            take: Takes the decision, on the rank that is elected.
            seconds: How long that may take.
        """
        for key in composers_of_decision(self._key):
            if self._scope.count_ranks(key, others=True) == 1:
                return take()
            if value := self.wait(time.monotonic() + seconds):
                return value
        return take()

    def reason(self, value: Value | None, compose: Callable[[], Reason], *, elect: bool = True) -> Reason:
        """Return the reason that all ranks raise.

        One rank composes it, and the others read it, so the number of calls does not grow with the world.

        Args:
            value: The value that holds; `failed` came with its reason.
            compose: Returns the reason, if this is the rank that composes it.
            elect: Whether this rank may be the one. If not, it composes only if no other rank has.
        """
        if value == "failed":
            if not self.text:  # the value was read elsewhere
                self.wait(time.monotonic() + COMPOSE)
            return self.note(Reason.decode)
        for turn, key in enumerate(composers_of_decision(self._key)):
            if (elect or turn) and self._scope.count_ranks(key, others=True) == 1:
                return self._offer(compose())
            text = self._scope.wait_for(f"{self._key}/reason", time.monotonic() + COMPOSE)
            if text is not None:
                return self._reason(text)
        return self._offer(compose())

    def note(self, read: Callable[[str], Result]) -> Result:
        """Return the meaning of the note with which the decision that this rank has read was taken.

        Args:
            read: Returns the meaning, or raises what Python raises for wrong data.

        Raises:
            PlanMismatch: if no rank of this version can have written it.
        """
        return self._scope.parse(self._key, f"go 0 {self.text}", lambda text: read(_parts(text)[2]))

    def _offer(self, reason: Reason) -> Reason:
        return self._reason(self._scope.set_if_absent(f"{self._key}/reason", reason.encode()))

    def _reason(self, text: str) -> Reason:
        return self._scope.parse(f"{self._key}/reason", text, Reason.decode)

    def _read(self, text: str) -> Value:
        value, self.number, self.text = self._scope.parse(self._key, text, _parts)
        return value


def _parts(text: str) -> tuple[Value, int, str]:
    written, _, rest = text.partition(" ")
    number, _, note = rest.partition(" ")
    for value in VALUES:
        if written == value:
            return value, read_number(0, MOST, number) if number else 0, note
    raise ValueError(text)


def did_not_come(ranks: Sequence[int], here: Collection[int], seconds: float) -> Reason:
    """Return the reason of ranks that have waited for others.

    Args:
        ranks: All of them.
        here: Those that have come.
        seconds: How long the others had.
    """
    missing = tuple(rank for rank in ranks if rank not in here)
    if not missing:
        return Reason(
            f"{format_ranks(ranks).capitalize()} came, but not all within {seconds:g} s, or one stopped "
            "then; nothing was created.\n  Look for the first error in their logs, or raise agree_timeout.",
            mismatch=True,
        )
    present = f"Present: {format_ranks(here)}. " if here else ""
    return Reason(
        f"{format_ranks(missing).capitalize()} of {len(ranks)} did not come within {seconds:g} s; "
        f"nothing was created.\n  {present}Look for the first error in the log of "
        f"{format_ranks(missing)}, or raise agree_timeout.",
        missing,
        mismatch=True,
    )


def fail_call(scope: ScopedStore, reason: Reason) -> tuple[Value, Reason]:
    """Decide that the ranks of a call of `init` do not agree; return the value that holds, and the reason if it is one.

    Args:
        scope: The scope of the call.
        reason: The reason, unless they have another one.
    """
    decision = Decision(scope, "agreement")
    value = decision.fail(reason)
    if value == "compare":
        decision = Decision(scope, "comparison")
        value = decision.fail(reason)
    return value, decision.note(Reason.decode) if value == "failed" else reason


def smallest_unused(in_use: int) -> int:
    """Return the smallest number that is not in use.

    >>> smallest_unused(0), smallest_unused(0b1011)
    (0, 2)
    """
    return (~in_use & (in_use + 1)).bit_length() - 1


def composers_of_decision(name: str) -> list[str]:
    """Return the keys in which ranks are counted that could compose the reason, the next if one does not."""
    return [f"{name}/composing{turn or ''}" for turn in range(TURNS)]


def keys_of_decision(name: str) -> tuple[str, ...]:
    """Return the keys that a decision may leave in the store."""
    return name, *composers_of_decision(name), f"{name}/reason"
