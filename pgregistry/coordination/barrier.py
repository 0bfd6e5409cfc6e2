"""Barriers of the build: ranks wait for one another, see that one has failed, and find out which is missing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias

from pgregistry.coordination.decision import Decision, Reason, Value, keys_of_decision
from pgregistry.coordination.roster import RollCall, keys_of_roll_call
from pgregistry.coordination.store.codec import read_number
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, PlanMismatch, clean, describe, format_ranks

log = logging.getLogger("pgregistry")

#: Returns what a rank waited for, given the ranks that do not answer.
Wording: TypeAlias = "Callable[[Sequence[int]], str]"

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
        value = _outcome(scope).taken()
        if value not in (None, "go"):
            raise _failure(scope, value)
    except LostError as error:
        raise lost(scope, error) from error


def give_up(scope: ScopedStore, wording: Wording) -> PlanMismatch | BuildError:
    """Return the error of all ranks when the time of this one is up.

    The decision is taken before any rank is accused, so a rank that is only slow cannot go on alone.

    Args:
        scope: The scope of the build.
        wording: Returns what this rank waited for, given the ranks that do not answer a roll call.
    """
    try:
        return _failure(scope, _outcome(scope).take("missing"), wording)
    except LostError as error:
        return lost(scope, error)


def lost(scope: ScopedStore, error: Exception) -> BuildError:
    """Return the error for a store that does not answer any more."""
    return BuildError(
        f"Rank {scope.rank}: {scope.host}, which hosts the store, is gone while process groups are built ({error})."
    )


def announce_failure(scope: ScopedStore, error: BaseException) -> PlanMismatch | BuildError | None:
    """Publish that this rank failed; return the error that all ranks raise, or None if it is this one.

    If the store is gone, the other ranks find that out as this one did.
    """
    text = clean(f"Rank {scope.rank} failed while process groups were built: {describe(error)}")
    # A BuildError names the rank itself, so all ranks can raise the same text.
    mine = Reason.of(error) if isinstance(error, BuildError | PlanMismatch) else Reason(text, (scope.rank,))
    try:
        value = _outcome(scope).fail(mine)
        if value == "go":
            return None  # all ranks were done, this one included
        first = _failure(scope, value)
        if str(first) == mine.text:
            _wake(scope)
    except LostError as lost_error:
        log.debug("the failure of rank %d could not be published: %s", scope.rank, lost_error)
        return None
    except PlanMismatch as garbage:  # in the store, which all ranks find
        return garbage
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
        if scope.count_ranks(f"{name}/count") == len(scope.ranks):
            value: Value | None = decision.take("go")
        else:
            value = decision.wait(time.monotonic() + seconds)
        waited = None
        if value is None:
            value, waited = _outcome(scope).take("missing"), partial(_came_alone, scope.rank, seconds)
        elif value != "go" and name == "groups":
            value = _outcome(scope).taken()
        if value != "go":
            raise _failure(scope, value, waited)
    except LostError as error:
        raise lost(scope, error) from error


def watch_outcome(scope: ScopedStore, seconds: float) -> None:
    """Wait, on a rank outside of the scope, until its ranks are done; raise what they raise.

    Args:
        scope: The scope of the build.
        seconds: How long its ranks may take.

    Raises:
        PlanMismatch, BuildError: what the ranks of the scope raise.
    """
    try:
        value = _outcome(scope).wait(time.monotonic() + seconds) or _outcome(scope).take("missing")
        if value != "go":
            waited = f"Rank {scope.rank}, outside of within=, waited {seconds:g} s for {format_ranks(scope.ranks)}."
            raise _failure(scope, value, lambda missing: waited)
    except LostError as error:
        raise lost(scope, error) from error


def _failure(scope: ScopedStore, value: Value | None, wording: Wording | None = None) -> PlanMismatch | BuildError:
    """Return the error that all ranks raise. One of the ranks whose time is up, which have a wording, composes it."""
    roll_call = RollCall(scope, "roll call")
    if value == "missing" and scope.rank in scope.ranks:
        roll_call.answer()

    def compose() -> Reason:
        _wake(scope)
        missing = roll_call.missing()
        here = "All ranks answered: some are slow, or their hosts do not reach each other."
        answered = f"{format_ranks(missing).capitalize()} did not answer." if missing else here
        return Reason(f"{wording(missing)} {answered}" if wording else answered, tuple(missing))

    elect = wording is not None and scope.rank in scope.ranks
    return _outcome(scope).reason(value, compose, elect=elect).error()


def _wake(scope: ScopedStore) -> None:
    """End the wait of ranks for addresses or in the barrier before the ready hooks."""
    Decision(scope, "groups").take("failed")
    scope.set_many({address_key(rank): GONE for rank in scope.ranks})


def _came_alone(rank: int, seconds: float, missing: Sequence[int]) -> str:
    return f"Rank {rank} has its process groups, but waited {seconds:g} s for others to have theirs."


#: What the ranks of one call share, except the outcome, which a slow rank may still have to read.
SHARED: Final = (
    *(
        "tally",
        "roster",
        "reference",
        "reference/other",
        "looking",
        "differing",
        "left",
        "groups/count",
        "outcome/count",
    ),
    *keys_of_decision("agreement"),
    *keys_of_decision("comparison"),
    *keys_of_decision("groups"),
    *keys_of_roll_call("roll call"),
)


def delete_keys(scope: ScopedStore) -> None:
    """Delete the keys of this call and of all earlier ones among the same ranks that no rank reads any more.

    Only for a call that has succeeded: all ranks have then left every earlier call. Each rank deletes
    its own keys, and the lowest also those that are shared.
    """
    calls, this = scope.of_all_calls()
    # A rank outside of within= may still have to read these.
    read = {*keys_of_decision("agreement"), *keys_of_decision("comparison")} if not scope.everybody else set[str]()
    own = (f"proposal/{scope.rank}", address_key(scope.rank), f"made/{scope.rank}")
    shared = SHARED if scope.rank == min(scope.ranks) else ()
    outcome = keys_of_decision("outcome") if shared else ()
    try:
        first = calls.count(f"deleted/{scope.rank}", 0, partial(read_number, 0, this)) + 1
        for call in range(first, this):
            for key in (*own, *shared, *outcome):
                calls.delete(f"{call}/{key}")
        for key in (*own, *(key for key in shared if key not in read)):
            scope.delete(key)
        calls.count(f"deleted/{scope.rank}", this - first, int)
    except (LostError, PlanMismatch) as error:
        log.debug("rank %d could not delete the keys of calls of init that are over: %s", scope.rank, error)
