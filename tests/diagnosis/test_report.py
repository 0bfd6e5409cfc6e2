"""The text that somebody on call reads, the JSON, and the names of groups."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flight import entry, record, stuck

import pgregistry
from pgregistry import Axis, Mode

PLAN = pgregistry.plan(4, tensor=2, ranks_per_host=2)
COUNTED = {"last_enqueued_collective": "3", "last_completed_collective": "3"}
TEXT = """\
Rank 3 holds up the run (process): it waits for nobody, and 1 rank waits for it.
  host    1 (ranks 2-3)
  in      all_reduce #2 of tensor, group 1 (ranks 2-3): rank 2 waits since 2026-11-29 19:53:28 UTC
  last    finished barrier #1 of global (ranks 0-3)
  now     in nothing that torch records: its own code, or a call that leaves no record
  waiting rank 2
  behind  rank 0"""


def two_waits() -> dict[int, dict[str, Any]]:
    """Rank 2 waits for rank 3, and rank 0 for rank 2; rank 1 is where it should be."""
    done = entry("gloo:barrier", retired=True)
    tensor = ("run/groups/tensor/1", "pgregistry:tensor/1")
    data = ("run/groups/data/0", "pgregistry:data/0")
    return {
        0: record(done, entry("gloo:all_gather", process_group=data)),
        1: record(done),
        2: record(done, entry(sequence=2, process_group=tensor)),
        3: record(done),
    }


def test_the_text_says_who_where_what_and_who_waits() -> None:
    diagnosis = pgregistry.diagnose(two_waits(), PLAN)
    assert str(diagnosis) == TEXT


@pytest.mark.parametrize("behind", [0, 1])
def test_a_process_group_that_was_closed_is_not_taken_for_the_one_that_has_its_name_now(behind: int) -> None:
    """After close() and another init, all ranks but one are in the first or the second collective."""
    name = ("pgregistry/0123abcd/0/data/0", "pgregistry:data/0")
    of_closed = [entry(sequence=number, retired=True, process_group=name, pg_id=1) for number in (1, 2, 3)]
    done, pending = (entry(sequence=n, retired=n <= behind, process_group=name, pg_id=5) for n in (behind, behind + 1))
    late = record(*of_closed, *[done] * behind, pg_status={1: COUNTED})
    records = {0: record(*of_closed, *[done] * behind, pending), 2: late}
    diagnosis = pgregistry.diagnose(records, pgregistry.plan(4, tensor=2))
    (guilty,) = diagnosis.guilty
    assert (guilty.rank, guilty.kind, guilty.wait.sequence, guilty.waiting) == (2, "process", behind + 1, (0,))


def test_the_json_has_the_keys_of_the_contract() -> None:
    document = json.loads(pgregistry.diagnose(two_waits(), PLAN).to_json())
    since = "2026-11-29 19:53:28 UTC"
    guilty = {"rank": 3, "kind": "process", "mode": "tensor", "group": [2, 3], "collective": "all_reduce"}
    (one,) = document["guilty"]
    assert {**one, **guilty, "sequence": 2, "waiting": [2], "behind": [0], "group_index": 1, "since": since} == one
    assert document["waiting"] == [
        {
            "mode": "data",
            "group": [0, 2],
            "group_index": 0,
            "collective": "all_gather",
            "sequence": 1,
            "ranks": [0],
            "for": [2],
            "since": since,
        },
        {
            "mode": "tensor",
            "group": [2, 3],
            "group_index": 1,
            "collective": "all_reduce",
            "sequence": 2,
            "ranks": [2],
            "for": [3],
            "since": since,
        },
    ]
    assert [document[key] for key in ("schema", "missing_records", "problems", "records")] == [1, [], [], 4]


def test_host_and_stack_of_a_record_are_shown() -> None:
    records = stuck()
    records[3] |= {"host_name": "node-7", "stack": ["MainThread: load_batch, data.py:12"]}
    (guilty,) = pgregistry.diagnose(records).guilty
    assert (guilty.host, guilty.now) == ("node-7", ("MainThread: load_batch, data.py:12",))


def test_a_pending_operation_is_shown_with_the_line_that_called_it() -> None:
    frames = [{"name": "all_reduce", "filename": "/x/torch/distributed/distributed_c10d.py", "line": 1}]
    frames.append({"name": "step", "filename": "train.py", "line": 7})
    records = stuck()
    records[3] = record(records[0]["entries"][0], entry("gloo:broadcast", sequence=2, frames=frames))
    (guilty,) = pgregistry.diagnose(records).guilty
    assert guilty.now == ("in broadcast #2 of default_pg (ranks 0-3)", "called by step, train.py:7")
    assert guilty.evidence == "it has broadcast of 4 elements where others have all_reduce of 4 elements"


def test_other_sizes_are_shown_with_both() -> None:
    records = stuck()
    records[3] = record(records[0]["entries"][0], entry(sequence=2, input_sizes=[[2, 8]], output_sizes=[[2, 8]]))
    (guilty,) = pgregistry.diagnose(records).guilty
    assert (guilty.kind, guilty.evidence) == (
        "mismatch",
        "it has all_reduce of 16 elements where others have all_reduce of 4 elements",
    )


@pytest.mark.parametrize("prefix", ["", "megatron_"])
def test_the_mode_of_megatrons_description_is_found(prefix: str) -> None:
    """The modes of examples/pgregistry-megatron have the names of these descriptions, with a prefix or without."""
    names = ["TENSOR_MODEL_PARALLEL_GROUP", "EXPERT_TENSOR_MODEL_PARALLEL_GROUP"]
    axes = [Axis("t"), Axis("e", outside="t")]
    modes = [Mode(prefix + name, over=axis) for name, axis in zip(names, axes, strict=True)]
    plan = pgregistry.plan_modes(4, modes, t=2, e=2)
    records = {rank: record(entry(process_group=("7", names[0]))) for rank in (0,)} | {1: record(), 2: record()}
    (guilty,) = pgregistry.diagnose(records, plan).guilty
    assert (guilty.rank, guilty.wait.mode, guilty.wait.index) == (1, prefix + names[0], 0)


def test_gloo_groups_that_neither_plan_nor_record_knows_are_of_those_that_use_them() -> None:
    group = ("5", "undefined")
    records = {rank: record(entry(process_group=group, retired=True)) for rank in range(2)} | {2: record()}
    records[0]["entries"].append(entry(sequence=2, process_group=group))
    diagnosis = pgregistry.diagnose(records)
    assert [(one.rank, one.wait.mode, one.wait.group) for one in diagnosis.guilty] == [(1, "5", (0, 1))]


def test_many_culprits_are_not_all_described() -> None:
    world = range(64)
    records = {rank: record(entry(process_group=("3", "all"))) for rank in world if rank < 30}
    config = {"3": {"desc": "all", "ranks": str([*world])}}
    records = {rank: {**records.get(rank, record()), "pg_config": config} for rank in world}
    text = str(pgregistry.diagnose(records))
    assert text.count("holds up the run") == 8
    assert text.endswith("\nSo do ranks 38-63.")


def test_a_batch_has_the_state_of_its_last_entry() -> None:
    """NCCL records the operations of a batch as "scheduled" for ever, and the state in an entry behind them."""
    config = {"3": {"desc": "pipe", "ranks": "[0, 1]"}}
    common = {"process_group": ("3", "pipe"), "p2p_seq_id": 1, "is_p2p": True}

    def batch(names: list[str], state: str) -> dict[str, Any]:
        states = [*("scheduled" for _ in names), state]
        names = [*names, "coalesced"]
        each = zip(names, states, strict=True)
        return record(*(entry(f"nccl:{n}", 0, state=s, **common) for n, s in each), pg_config=config)

    done = {0: batch(["send 0->1", "recv 0<-1"], "completed"), 1: batch(["send 1->0", "recv 1<-0"], "completed")}
    assert str(pgregistry.diagnose(done)) == "Nobody waits."
    waits = {0: batch(["send 0->1", "recv 0<-1"], "started"), 1: record(pg_config=config)}
    assert [(one.rank, one.kind) for one in pgregistry.diagnose(waits).guilty] == [(1, "process")]
