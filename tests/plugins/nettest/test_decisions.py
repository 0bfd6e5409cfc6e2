"""Decisions of ranks through a store: who decides, who came too late, and what stays in the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import needs
import pytest
import torch.distributed as dist
from pgregistry_nettest import decisions
from pgregistry_nettest.decisions import Decisions
from ranks import run_ranks

import pgregistry
from pgregistry import BuildError

RANKS = (0, 1, 2)


def total(proposals: Mapping[int, Any]) -> int:
    return sum(proposals.values())


def together(work: Callable[[Decisions], Any], store: Any, ranks: tuple[int, ...] = RANKS) -> dict[int, Any]:
    """Return what each rank, a thread of this process, returns or raises."""
    results: dict[int, Any] = {}

    def run(rank: int) -> None:
        try:
            results[rank] = work(Decisions(store, rank, RANKS))
        except BuildError as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def one_test(mine: Decisions) -> list[int]:
    decided = [mine.decide(what, 1 + mine._rank, total, 5.0) for what in ("first", "second")]
    mine.forget()
    return decided


def test_all_ranks_have_one_decision_and_the_store_does_not_grow() -> None:
    store = dist.HashStore()
    keys = []
    for _ in range(4):
        assert together(one_test, store) == {rank: [6, 6] for rank in RANKS}
        keys.append(store.num_keys())
    assert keys == [len(RANKS)] * 4  # each rank's counter of tests


def test_a_rank_that_does_not_come_is_missing_for_the_others_and_learns_of_it_later() -> None:
    store = dist.HashStore()

    def without_two(mine: Decisions) -> Any:
        decided = mine.decide("in partition 0", 1, total, 0.2)
        mine.forget()
        return decided, mine.missing, mine.present

    for rank, said in together(without_two, store, (0, 1)).items():
        assert said == (2, {2: "in partition 0"}, [0, 1]), rank
    late = together(lambda mine: mine.decide("in partition 0", 1, total, 0.2), store, (2,))[2]
    assert str(late) == (
        "Rank 2 came too late to be counted in partition 0 of the network test; ranks 0-1 went on without it."
    )
    assert late.ranks == (2,)


def test_another_rank_decides_if_the_first_is_missing() -> None:
    said = together(lambda mine: mine.decide("at the end", mine._rank, total, 0.2), dist.HashStore(), (1, 2))
    assert said == {1: 3, 2: 3}


def test_a_store_that_does_not_answer_is_lost_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Decisions(dist.HashStore(), 1, RANKS)
    monkeypatch.setattr(decisions, "SLICE", 0.1)
    monkeypatch.setattr(decisions, "ANSWER", 0.1)
    never = threading.Event()

    class CutOff:
        def __getattr__(self, name: str) -> Any:
            return lambda *args: never.wait()

    mine._store = CutOff()  # type: ignore[assignment]
    with pytest.raises(BuildError, match=r"^Rank 1: the store is lost during the network test \(no answer for 0.2 s\)"):
        mine.write("key", "")
    begun = time.monotonic()
    with pytest.raises(BuildError, match="no answer for"):
        mine.write("key", "")
    mine.forget()  # does not raise, and does not wait
    assert time.monotonic() - begun < 0.1
    never.set()


@pytest.mark.timeout(20)
def test_the_last_microseconds_of_a_wait_are_not_taken_for_no_limit() -> None:
    assert not decisions._arrived(["key"], 0.0001, dist.HashStore())


def test_an_error_of_the_store_that_is_no_timeout_is_not_taken_for_one() -> None:
    class Broken:
        def wait(self, *args: Any) -> None:
            raise RuntimeError("wrong type of value")

    with pytest.raises(RuntimeError, match="wrong type"):
        decisions._arrived(["key"], 0.1, Broken())


def keys_after_runs() -> list[list[str]]:
    import pgregistry_nettest

    world = dist.group.WORLD
    assert world is not None
    left = []
    with pgregistry.init(only=["global"]) as context:
        for _ in range(3):
            pgregistry_nettest.run(context, sizes=(1024,), iterations=5)
            dist.barrier()
            left.append(sorted(world.get_group_store().list_keys()))
            dist.barrier()
    return left


@needs.KEYS
def test_a_network_test_between_steps_leaves_one_counter_a_rank_and_the_store_does_not_grow() -> None:
    lists = run_ranks(4, keys_after_runs)[0]
    for left in lists:
        mine = [key for key in left if "nettest" in key]
        assert [key[-len("tests/0") :] for key in mine] == [f"tests/{rank}" for rank in range(4)]
    assert len({len(left) for left in lists}) == 1, lists
