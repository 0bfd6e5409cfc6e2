"""The exchange of addresses: one write and one read of a rank, whatever torch asks in its threads."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch.distributed as dist
from counting import Counting
from interrupts import interrupted
from threads import as_ranks, scope_of

from pgregistry import BuildError
from pgregistry.building.address_exchange import ExchangeStore, run_together
from pgregistry.building.watchdog import Watchdog
from pgregistry.coordination.abandonable import AbandonableThread
from pgregistry.coordination.barrier import announce_failure


def exchange(store: Any, rank: int, size: int, jobs: list[Callable[[ExchangeStore], object]], seconds: float) -> Any:
    """Run jobs on one rank, each of which gets the store that torch would get."""
    scope = scope_of(store, rank, size)
    exchanged = ExchangeStore(scope, [peer for peer in range(size) if peer != rank])
    if isinstance(store, Counting):
        store.calls.clear()
    run_together(exchanged, [partial(job, exchanged) for job in jobs], Watchdog(scope, {}, seconds))
    return exchanged


def meet(group: str, rank: int, size: int, found: dict[str, list[bytes]], store: ExchangeStore) -> None:
    """Do what gloo does for one group: publish an address, and read those of all members."""
    store.set(f"{group}/{rank}", f"{group} of {rank}")
    found[group] = store.multi_get([f"{group}/{member}" for member in range(size)])


@pytest.mark.parametrize("groups", [["a"], ["a", "b", "c"]])
def test_all_groups_of_a_rank_take_one_write_and_one_read(groups: list[str]) -> None:
    size, shared = 4, dist.HashStore()
    found: dict[int, dict[str, list[bytes]]] = {rank: {} for rank in range(size)}

    def one(rank: int) -> list[str]:
        store = Counting(shared)
        order = groups if rank % 2 else list(reversed(groups))  # ranks may make their groups in any order
        exchange(store, rank, size, [partial(meet, group, rank, size, found[rank]) for group in order], 60)
        return [call for call, _ in store.calls]

    assert as_ranks(one, range(size)) == {rank: ["set", "multi_get"] for rank in range(size)}
    for rank in range(size):
        assert found[rank] == {name: [f"{name} of {member}".encode() for member in range(size)] for name in groups}


def test_a_job_that_raises_ends_the_wait_of_the_others() -> None:
    ended = threading.Event()

    def waits(store: ExchangeStore) -> None:
        with pytest.raises(RuntimeError, match="building was given up"):
            store.get("an address that never comes")
        ended.set()

    def fails(store: ExchangeStore) -> None:
        raise ZeroDivisionError("no device")

    with pytest.raises(ZeroDivisionError, match="no device"):
        exchange(dist.HashStore(), 0, 2, [waits, fails], 60)
    assert ended.wait(10)


def test_an_interrupt_at_any_moment_ends_all_threads() -> None:
    came, step = True, 0
    while came:
        step += 1
        jobs = [partial(meet, group, 0, 1, {}) for group in ("a", "b")]
        came = interrupted(lambda jobs=jobs: exchange(dist.HashStore(), 0, 1, jobs, 60), step, ("address_exchange.py",))
        threads = [one for one in threading.enumerate() if isinstance(one, AbandonableThread)]
        assert all(one.wait(10) for one in threads), step
    assert step > 100


def test_a_peer_that_fails_ends_the_wait_for_its_addresses_at_once() -> None:
    shared = dist.HashStore()

    def one(rank: int) -> Any:
        if rank == 1:
            time.sleep(0.2)
            return announce_failure(scope_of(shared, 1, 2), RuntimeError("no card"))
        return exchange(shared, 0, 2, [partial(meet, "a", 0, 2, {})], 60)

    begun = time.monotonic()
    error = as_ranks(one, range(2))[0]
    assert isinstance(error, BuildError)
    assert str(error) == "Rank 1 failed while process groups were built: RuntimeError: no card"
    assert time.monotonic() - begun < 4  # a rank looks around every 5 s by itself


def test_what_is_written_after_the_exchange_goes_by_the_store_itself() -> None:
    shared = dist.HashStore()

    def talk(rank: int, store: ExchangeStore) -> Any:
        meet("a", rank, 2, {}, store)
        if rank == 0:
            time.sleep(0.1)
        store.set(f"later/{rank}", f"from {rank}")
        return heard.append(store.get(f"later/{1 - rank}"))

    heard: list[bytes] = []
    as_ranks(lambda rank: exchange(shared, rank, 2, [partial(talk, rank)], 60), range(2))
    assert sorted(heard) == [b"from 0", b"from 1"]
