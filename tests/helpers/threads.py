"""Ranks that are threads of one process, and their scopes in one store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch.distributed as dist
from counting import Counting

from pgregistry.coordination.store.scoped_store import ScopedStore


def as_ranks(function: Callable[[int], Any], ranks: Sequence[int]) -> dict[int, Any]:
    """Return what a function returns or raises on each rank, in threads."""
    outcome: dict[int, Any] = {}

    def run(rank: int) -> None:
        try:
            outcome[rank] = function(rank)
        except Exception as error:
            outcome[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcome) == sorted(ranks), "a rank hangs"
    return outcome


def scope_of(store: Any, rank: int, size: int) -> ScopedStore:
    """Return the scope of a rank among all ranks."""
    return ScopedStore.open(store, rank, range(size), everybody=True)


def busiest(size: int, function: Callable[[Counting, int], Any]) -> int:
    """Return the most store calls that a rank makes in a function, whatever it raises.

    A wait that is repeated every few seconds counts once: how often it is depends on the clock alone.
    """
    store = dist.HashStore()
    counting = {rank: Counting(store) for rank in range(size)}
    as_ranks(lambda rank: function(counting[rank], rank), range(size))
    return max(len(list(groupby(one.calls))) for one in counting.values())
