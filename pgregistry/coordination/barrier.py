"""How ranks that build wait for one another, learn that one has failed, and find out which is missing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias

from pgregistry.coordination.decision import Decision, Reason, RollCall
from pgregistry.coordination.store import LostError, ScopedStore
from pgregistry.errors import BuildError, format_ranks

log = logging.getLogger("pgregistry")

#: Returns what a rank waited for, given the ranks that do not answer.
Describe: TypeAlias = "Callable[[Sequence[int]], str]"

#: Written in the place of addresses that will not come, because the build has failed.
GONE: Final = "-"
#: Seconds for which the rank that hosts the store stays for the others after an error, and after a world has ended.
LEAVE: Final = 2.0


def address_key(rank: int) -> str:
    """Return the key under which a rank publishes the addresses of its process groups."""
    return f"addresses/{rank}"


def _outcome(scope: ScopedStore) -> Decision:
    return Decision(scope, "outcome")


def check_failure(scope: ScopedStore) -> None:
    """Raise BuildError with the reason of all ranks if the build has failed somewhere; one call if it has not."""
    try:
        word = _outcome(scope).taken()
        if word not in (None, "go"):
            raise _failure(scope, word, _nobody)
    except LostError as error:
        raise lost(scope, error) from error


def give_up(scope: ScopedStore, describe: Describe) -> BuildError:
    """Return the error of all ranks when the time of this one is up.

    The decision is taken before any rank is accused, so a rank that is only slow cannot go on alone.

    Args:
        scope: The scope of the build.
        describe: Returns what this rank waited for, given the ranks that do not answer a roll call.
    """
    try:
        return _failure(scope, _outcome(scope).take("missing"), describe)
    except LostError as error:
        return lost(scope, error)


def lost(scope: ScopedStore, error: Exception) -> BuildError:
    """Return the error for a store that does not answer any more."""
    return BuildError(
        f"Rank {scope.rank}: {scope.host}, which hosts the store, is gone while process groups are built ({error})."
    )


def announce_failure(scope: ScopedStore, error: BaseException) -> BuildError | None:
    """Publish that this rank failed; return the error that all ranks raise, or None if it is this one.

    If the store is gone, the other ranks find that out as this one did.
    """
    text = f"Rank {scope.rank} failed while process groups were built: {type(error).__name__}: {error}"
    # A BuildError names the rank itself, so that all ranks can raise the same text.
    mine = Reason(str(error) if isinstance(error, BuildError) else text, (scope.rank,))
    try:
        word = _outcome(scope).fail(mine)
        if word == "go":
            return None  # all ranks were done, this one included
        first = _failure(scope, word, _nobody)
        if str(first) == mine.text:
            _wake(scope)
    except LostError as lost_error:
        log.debug("the failure of rank %d could not be published: %s", scope.rank, lost_error)
        return None
    return None if str(first) == mine.text else first


def barrier(scope: ScopedStore, seconds: float, name: Literal["groups", "outcome"]) -> None:
    """Wait until all ranks are here; two calls a rank.

    Args:
        scope: The scope of the build.
        seconds: How long the other ranks may take.
        name: The barrier: `outcome` is the last one of `init`, after which no rank raises any more.

    Raises:
        BuildError: at once if a rank fails, and after `seconds` if one does not come.
    """
    decision = Decision(scope, name)
    try:
        if scope.add(f"{name}/count", 1) == len(scope.ranks):
            word: str | None = decision.take("go")
        else:
            word = decision.wait(time.monotonic() + seconds)
        if word is None:
            word = _outcome(scope).take("missing")
        elif word != "go" and name == "groups":
            word = _outcome(scope).taken()
        if word != "go":
            raise _failure(scope, word, partial(_came_alone, scope.rank, seconds))
    except LostError as error:
        raise lost(scope, error) from error


def _failure(scope: ScopedStore, word: str | None, describe: Describe) -> BuildError:
    """Return the error that all ranks raise; one rank words it."""
    roll_call = RollCall(scope, "roll call")
    if word == "missing":
        roll_call.answer()

    def compose() -> Reason:
        _wake(scope)
        missing = roll_call.missing()
        answered = f"{format_ranks(missing).capitalize()} did not answer." if missing else "All ranks answered."
        return Reason(f"{describe(missing)} {answered}".strip(), tuple(missing))

    reason = _outcome(scope).reason(word, compose)
    return BuildError(reason.text, ranks=reason.ranks)


def _wake(scope: ScopedStore) -> None:
    """End the wait of ranks for addresses or in the barrier before the ready hooks."""
    Decision(scope, "groups").take("failed")
    scope.set_many({address_key(rank): GONE for rank in scope.ranks})


def _nobody(missing: Sequence[int]) -> str:
    return ""


def _came_alone(rank: int, seconds: float, missing: Sequence[int]) -> str:
    return f"Rank {rank} has its process groups, but waited {seconds:g} s for others to have theirs."
