"""Who waits for whom: two backends in one process group, batches of sends and recvs, a mismatch beside a late rank."""

from __future__ import annotations

from typing import Any

import pytest
from flight import entry, record

import pgregistry

RANKS = {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1, 2, 3]"}}


def operation(name: str, number: int, *, done: bool = False, **values: Any) -> dict[str, Any]:
    state = "completed" if done and name.startswith("nccl") else "scheduled"
    return entry(name, number, retired=done, state=state, **values)


def batch(number: int, *operations: str, done: bool = False) -> list[dict[str, Any]]:
    """A batch of NCCL, as torch records it: the state is that of an entry behind those of its operations."""
    ends = {"is_p2p": True, "collective_seq_id": 0, "p2p_seq_id": number, "output_sizes": []}
    parts = [operation(f"nccl:{one}", 0, **ends) for one in operations]
    return [*parts, operation("nccl:coalesced", 0, done=done, **ends)]


def named(records: dict[int, list[dict[str, Any]]]) -> dict[int, str]:
    found = pgregistry.diagnose({rank: record(*one, pg_config=RANKS) for rank, one in records.items()})
    assert found.problems == ()
    return {one.rank: one.kind for one in found.guilty}


@pytest.mark.parametrize("late", [0, 3])
@pytest.mark.parametrize(
    ("pending", "other"), [("gloo:barrier", "nccl:all_reduce"), ("nccl:all_reduce", "gloo:barrier")]
)
def test_each_backend_of_a_process_group_has_numbers_of_its_own(pending: str, other: str, late: int) -> None:
    """As the default process group of "cpu:gloo,cuda:nccl" has."""
    done = [operation(other, number, done=True) for number in (1, 2, 3)]
    first = operation(pending, 1, done=True)
    waits = operation(pending, 2)
    assert named({rank: [first, *done, *[waits] * (rank != late)] for rank in range(4)}) == {late: "process"}


def test_a_rank_that_is_late_beside_a_mismatch_is_named_too() -> None:
    entered = {0: "all_reduce", 1: "broadcast", 2: "all_reduce"}
    records = {rank: [operation(f"nccl:{name}", 1)] for rank, name in entered.items()}
    assert named({**records, 3: []}) == {1: "mismatch", 3: "process"}


def ring(rank: int, *, done: bool = False) -> list[dict[str, Any]]:
    return batch(1, f"send {rank}->{(rank + 1) % 4}", f"recv {rank}<-{(rank - 1) % 4}", done=done)


def test_a_ring_of_batches_that_all_ranks_are_in_is_no_deadlock() -> None:
    """The operations of a batch begin at once: that one is pending keeps no rank from another."""
    assert named({rank: ring(rank) for rank in range(4)}) == {}


@pytest.mark.parametrize("culprit", [0, 3])
def test_of_a_ring_of_batches_the_rank_that_is_late_or_stuck_is_named(culprit: int) -> None:
    assert named({rank: [] if rank == culprit else ring(rank) for rank in range(4)}) == {culprit: "process"}
    assert named({rank: ring(rank, done=rank != culprit) for rank in range(4)}) == {culprit: "device"}


@pytest.mark.parametrize("order", [("recv 1<-0", "send 1->2"), ("send 1->2", "recv 1<-0")])
def test_a_batch_of_which_one_peer_has_finished_may_wait_for_the_other(order: tuple[str, str]) -> None:
    records = {0: batch(1, "send 0->1", done=True), 1: batch(1, *order), 2: [], 3: []}
    assert named(records) == {2: "process"}


def test_the_evidence_of_a_ring_has_others_where_two_ranks_do_not_wait_for_one_another() -> None:
    pairs = {"a": (0, 1), "b": (1, 2), "c": (2, 3), "d": (0, 3)}
    config = {name: {"name": name, "desc": name, "ranks": str(list(ranks))} for name, ranks in pairs.items()}
    records = {
        rank: record(operation("nccl:all_reduce", 1, process_group=(name, name)), pg_config=config)
        for rank, name in enumerate(pairs)
    }
    found = pgregistry.diagnose(records).guilty
    assert [(one.rank, one.kind) for one in found] == [(rank, "deadlock") for rank in range(4)]
    assert found[0].evidence == "it waits for rank 1, which waits for it in turn, through others"
    two = {rank: record(operation("nccl:all_reduce", 1, process_group=(name, name))) for rank, name in enumerate("ab")}
    both = {name: {"name": name, "desc": name, "ranks": "[0, 1]"} for name in "ab"}
    found = pgregistry.diagnose({rank: {**one, "pg_config": both} for rank, one in two.items()}).guilty
    assert found[1].evidence == "it waits for rank 0, which waits for it in turn"
