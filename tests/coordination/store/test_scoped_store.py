"""The scoped store: keys of its own for each `init`, bounded requests, values that survive the way."""

from __future__ import annotations

import pytest
import torch.distributed as dist
from counting import Counting
from threads import scope_of

from pgregistry.coordination.store import scoped_store as store
from pgregistry.coordination.store.scoped_store import ScopedStore


def test_each_call_has_keys_of_its_own_and_all_ranks_find_the_same() -> None:
    shared = dist.HashStore()
    names = [
        [ScopedStore.open(shared, rank, ranks, everybody=len(ranks) == 4).name for rank in ranks]
        for ranks in (range(4), range(4), [0, 1], [2, 3], [0, 1], [1, 0], range(4))
    ]
    assert all(len(set(each)) == 1 for each in names)
    assert len({each[0] for each in names}) == len(names)


def test_a_scope_that_is_only_constructed_makes_no_call() -> None:
    counting = Counting(dist.HashStore())
    ScopedStore(counting, 0, range(4), name="pgregistry/all/1")
    assert counting.calls == []


def test_many_keys_are_written_and_read_in_bounded_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 10)
    counting = Counting(dist.HashStore())
    scope = scope_of(counting, 0, 1)
    values = {f"key {number}": str(number) for number in range(25)}
    counting.calls.clear()
    scope.set_many(values)
    assert [call for call, _ in counting.calls] == ["multi_set"] * 3
    assert scope.read(list(values), 1) == list(values.values())
    assert [call for call, _ in counting.calls[3:]] == ["multi_get"] * 3


def test_a_tcp_store_takes_as_many_keys_as_there_may_be_ranks() -> None:
    """One request with all of these resets the connection."""
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    scope = scope_of(server, 0, 1)
    scope.set_many({f"addresses/{rank}": "-" for rank in range(140_000)})
    assert scope.read(["addresses/0", "addresses/139999"], 5) == ["-", "-"]


def test_a_key_is_written_once_by_compare_and_set() -> None:
    scope = scope_of(dist.HashStore(), 0, 1)
    assert [scope.set_if_absent("word", word) for word in ("first", "second")] == ["first", "first"]


def test_a_key_that_does_not_come_is_none() -> None:
    scope = scope_of(dist.HashStore(), 0, 1)
    assert scope.read(["nothing"], 0.1) is None
