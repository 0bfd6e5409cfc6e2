"""Decisions that all ranks of a scope share: the first value that is written holds, and one rank gives the reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, PgregistryError, PlanMismatch

#: `go`: all ranks go on. `differ`, `missing`: they do not, and one rank has still to find out why.
#: `failed`: they do not, and the reason is there already.
Value: TypeAlias = Literal["go", "differ", "missing", "failed"]

#: Seconds for the rank that composes the reason. After that each other rank offers a reason of its own.
COMPOSE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Reason:
    """The error that every rank raises.

    Attributes:
        text: Its text.
        ranks: The ranks at fault.
        mismatch: True for a PlanMismatch, False for a BuildError.
    """

    text: str
    ranks: tuple[int, ...] = ()
    mismatch: bool = False

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
        reason, ranks, mismatch = json.loads(text)
        if not isinstance(reason, str) or not all(isinstance(rank, int) for rank in ranks):
            raise TypeError(text)
        return Reason(reason, tuple(ranks), bool(mismatch))

    def encode(self) -> str:
        """Return the reason as text for the store."""
        return json.dumps([self.text, self.ranks, self.mismatch])


class Decision:
    """One value that all ranks read, taken by compare-and-set.

    Whichever rank is the first to write the value or the reason, all ranks then hold the same two.
    A rank that dies while it composes the reason is replaced by the next that gives up on it.
    """

    def __init__(self, scope: ScopedStore, name: str) -> None:
        self._scope = scope
        self._key = name

    def take(self, value: Value) -> Value:
        """Take the decision unless it is taken, and return the value that holds."""
        return self._read(self._scope.set_if_absent(self._key, value))

    def fail(self, reason: Reason) -> Value:
        """Give a reason, decide that all ranks fail, and return the value that holds."""
        self._offer(reason)
        return self.take("failed")

    def taken(self) -> Value | None:
        """Return the value that holds, or None if no rank has decided yet."""
        if not self._scope.has(self._key):
            return None
        return self.wait(time.monotonic() + COMPOSE)

    def wait(self, until: float, look_around: Callable[[], None] = lambda: None) -> Value | None:
        """Wait for the value until a time of `time.monotonic()`; return None then."""
        text = self._scope.wait_for(self._key, until, look_around)
        return None if text is None else self._read(text)

    def reason(self, value: Value | None, compose: Callable[[], Reason], *, elect: bool = True) -> Reason:
        """Return the reason that all ranks raise.

        One rank composes it, and the others read it, so the number of calls does not grow with the world.

        Args:
            value: The value that holds; the reason of `failed` is there already.
            compose: Returns the reason, if this is the rank that composes it.
            elect: Whether this rank may be the one. If not, it composes only if no other rank has.
        """
        if elect and value != "failed" and self._scope.count_ranks(f"{self._key}/composing") == 1:
            return self._offer(compose())
        text = self._scope.wait_for(f"{self._key}/reason", time.monotonic() + COMPOSE)
        return self._offer(compose()) if text is None else self._reason(text)

    def _offer(self, reason: Reason) -> Reason:
        return self._reason(self._scope.set_if_absent(f"{self._key}/reason", reason.encode()))

    def _reason(self, text: str) -> Reason:
        return self._scope.parse(f"{self._key}/reason", text, Reason.decode)

    def _read(self, text: str) -> Value:
        return self._scope.parse(self._key, text, _value)


def _value(text: str) -> Value:
    for value in get_args(Value):
        if text == value:
            return value  # type: ignore[no-any-return]
    raise ValueError(text)


def keys_of_decision(name: str) -> tuple[str, ...]:
    """Return the keys that a decision may leave in the store."""
    return name, f"{name}/composing", f"{name}/reason"
