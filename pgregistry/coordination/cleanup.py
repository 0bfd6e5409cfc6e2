"""Deletion of the keys of calls of `init` that are over, from a store that lives on."""

from __future__ import annotations

import logging
from typing import Final

from pgregistry.coordination.barrier import address_key
from pgregistry.coordination.decision import keys_of_decision, keys_of_roll_call
from pgregistry.coordination.store import LostError, ScopedStore

log = logging.getLogger("pgregistry")

#: What the ranks of one call share, except the outcome, which a slow rank may still have to read.
SHARED: Final = (
    *("reference", "roster", "tally", "all here", "logging", "groups/count", "outcome/count"),
    *keys_of_decision("agreement"),
    *keys_of_decision("groups"),
    *keys_of_roll_call("roll call"),
)


def delete_keys(scope: ScopedStore) -> None:
    """Delete the keys of this call and of all earlier ones among the same ranks that no rank reads any more.

    Only for a call that has succeeded: all ranks have then left every earlier call. Each rank deletes
    its own keys, and the lowest also those that are shared.
    """
    calls, this = scope.of_all_calls()
    own = (f"proposal/{scope.rank}", address_key(scope.rank), f"made/{scope.rank}", f"left/{_place(scope)}")
    shared = SHARED if scope.rank == min(scope.ranks) else ()
    outcome = keys_of_decision("outcome") if shared else ()
    try:
        first = calls.add(f"deleted/{scope.rank}", 0) + 1
        for call in range(first, this):
            for key in (*own, *shared, *outcome):
                calls.delete(f"{call}/{key}")
        for key in (*own, *shared):
            scope.delete(key)
        calls.add(f"deleted/{scope.rank}", this - first)
    except (LostError, RuntimeError, NotImplementedError) as error:  # a store in Python may not delete
        log.debug("rank %d could not delete the keys of calls of init that are over: %s", scope.rank, error)


def _place(scope: ScopedStore) -> int:
    """Return the number of the rank among those of the scope, from 1: ranks that leave are counted."""
    return scope.ranks.index(scope.rank) + 1
