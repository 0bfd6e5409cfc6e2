"""Records that are damaged, hostile, of another job or plan: one line each, and what the rest shows."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from flight import entry, record, stuck

import pgregistry
from pgregistry import ConfigError


def written(folder: Path, records: dict[int, Any], prefix: str = "nccl_trace_rank_") -> Path:
    for rank, one in records.items():
        (folder / f"{prefix}{rank}").write_bytes(pickle.dumps(one, protocol=2))
    return folder


def named(diagnosis: pgregistry.Diagnosis) -> dict[int, str]:
    return {one.rank: one.kind for one in diagnosis.guilty}


class Bomb:
    """Runs a command where it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch it-was-run",)


def test_no_code_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {**stuck(), 1: {"version": "2.10", "entries": [Bomb()]}})
    diagnosis = pgregistry.diagnose(tmp_path)
    assert not (tmp_path / "it-was-run").exists()
    (problem,) = diagnosis.problems
    assert problem == (
        f"{tmp_path / 'nccl_trace_rank_1'} is left out: it is refused: "
        f"it wants {os.system.__module__}.system, but a flight record holds plain values only."
    )
    assert (named(diagnosis), diagnosis.missing_records) == ({3: "process", 1: "absent"}, (1,))


@pytest.mark.parametrize("keep", [1, 2, 10, 100, 300])
def test_half_a_pickle_is_left_out(keep: int, tmp_path: Path) -> None:
    written(tmp_path, stuck())
    file = tmp_path / "nccl_trace_rank_3"
    file.write_bytes(file.read_bytes()[:keep])
    diagnosis = pgregistry.diagnose(tmp_path)
    assert diagnosis.problems[0].startswith(f"{file} is left out: it is cut off or no flight record (")
    assert (named(diagnosis), diagnosis.missing_records) == ({3: "absent"}, (3,))


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '{"entries": 3}', '{"entries": {"a": 1}}', '"text"', "{" * 9999]
)
def test_text_that_is_no_record_is_left_out(text: str, tmp_path: Path) -> None:
    written(tmp_path, stuck())
    (tmp_path / "nccl_trace_rank_3").write_text(text, encoding="utf-8")
    assert pgregistry.diagnose(tmp_path).missing_records == (3,)


@pytest.mark.parametrize(
    "change",
    [
        {"process_group": 7},
        {"process_group": ["0"]},
        {"profiling_name": None},
        {"collective_seq_id": "x"},
        {"collective_seq_id": None},
        {"input_sizes": 4},
        {"input_sizes": [[None]]},
        {"time_created_ns": "soon"},
        {"timeout_ms": [1]},
        {"frames": [{}]},
        {"frames": 5},
    ],
    ids=str,
)
def test_an_entry_of_other_types_is_left_out_with_a_note(change: dict[str, Any]) -> None:
    records = stuck()
    records[0]["entries"].append({**entry(sequence=3), **change})
    records[0]["entries"] += [7, None, "text"]
    diagnosis = pgregistry.diagnose(records)
    assert named(diagnosis) == {3: "process"}
    assert len(diagnosis.problems) == 1
    assert diagnosis.problems[0].startswith("The record of rank 0 has 4 entries of 6 that cannot be read: an entry ")


@pytest.mark.parametrize("key", ["pg_config", "pg_status", "version", "stack", "host_name"])
@pytest.mark.parametrize("value", [None, 3, [], [1], "x", {"0": 3}, {"0": {"ranks": "[-1"}}], ids=str)
def test_tables_of_other_types_do_no_harm(key: str, value: Any) -> None:
    records = stuck()
    records[0][key] = value
    assert named(pgregistry.diagnose(records)) == {3: "process"}


def test_a_newer_format_is_read_as_far_as_it_is_known() -> None:
    diagnosis = pgregistry.diagnose({rank: {**one, "version": "3.1"} for rank, one in stuck().items()})
    assert named(diagnosis) == {3: "process"}
    assert diagnosis.problems[0] == (
        "The record of rank 0 has the format 3.1, newer than 2.x; what is known of it is read."
    )


def test_the_records_of_the_larger_of_two_jobs_count() -> None:
    small = {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}}
    large = {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1, 2, 3]"}}
    records = {rank: {**one, "pg_config": large if rank else small} for rank, one in stuck().items()}
    diagnosis = pgregistry.diagnose(records)
    assert diagnosis.problems == (
        "The record of rank 0 is of another job, and left out: its process group '0' differs.",
    )
    assert (named(diagnosis)[3], diagnosis.missing_records) == ("process", (0,))


def test_a_record_that_an_earlier_attempt_left_is_left_out() -> None:
    records = stuck()
    for one in records[3]["entries"]:
        one["time_created_ns"] -= 3600 * 10**9
    diagnosis = pgregistry.diagnose(records)
    assert diagnosis.problems == ("The record of rank 3 is left out: it ends before all the others begin.",)
    assert named(diagnosis) == {3: "absent"}


def test_of_two_records_of_a_rank_the_later_counts(tmp_path: Path) -> None:
    records = stuck()
    written(tmp_path, records)
    late = record(*records[3]["entries"], entry(sequence=2, time_created_ns=2 * 10**18))
    written(tmp_path, {3: late}, "second_rank_")
    diagnosis = pgregistry.diagnose(tmp_path)
    assert diagnosis.guilty == ()
    (problem,) = diagnosis.problems
    assert problem.startswith(
        "Rank 3 has several records, of which the latest counts. Remove the others, above all if "
    )


def test_a_file_that_was_copied_twice_is_no_news(tmp_path: Path) -> None:
    written(written(tmp_path, stuck()), stuck(), "copy_of_rank_")
    diagnosis = pgregistry.diagnose(tmp_path)
    assert (named(diagnosis), diagnosis.problems) == ({3: "process"}, ())


def test_files_that_only_look_like_records_are_of_no_rank(tmp_path: Path) -> None:
    """The number in the name of a configuration, or a date, is no rank that is missing."""
    written(tmp_path, stuck())
    (tmp_path / "run-20261130.json").write_text('{"entries": []}', encoding="utf-8")
    (tmp_path / "model-7.json").write_text('{"version": 3}', encoding="utf-8")
    diagnosis = pgregistry.diagnose(tmp_path)
    assert (named(diagnosis), diagnosis.missing_records) == ({3: "process"}, ())
    assert diagnosis.problems == (f"{tmp_path / 'model-7.json'} is left out: it is not a flight record.",)


def test_a_record_of_which_no_entry_can_be_read_is_left_out() -> None:
    records = stuck()
    records[0]["entries"] = [{"another": "format"}, 7]
    diagnosis = pgregistry.diagnose(records)
    assert diagnosis.problems == (
        "The record of rank 0 is left out: none of its 2 entries can be read: an entry has an unknown form.",
    )
    assert (named(diagnosis)[3], diagnosis.missing_records) == ("process", (0,))
    with pytest.raises(ConfigError, match="none of its 2 entries can be read"):
        pgregistry.diagnose({0: records[0]})


def nested(times: int = 60) -> list[object]:
    """A value of a few bytes in a pickle whose text is larger than any memory."""
    found: list[object] = []
    for _ in range(times):
        found = [found, found]
    return found


@pytest.mark.timeout(20)
@pytest.mark.parametrize("key", [*entry(), "frames", "pending_seconds"])
def test_a_value_that_unfolds_does_no_harm(key: str, tmp_path: Path) -> None:
    records = stuck()
    records[0]["entries"].append({**entry(sequence=3), key: nested()})
    written(tmp_path, records)
    assert named(pgregistry.diagnose(tmp_path)) == {3: "process"}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("key", ["version", "pg_config", "pg_status", "stack", "host_name"])
def test_a_table_that_unfolds_does_no_harm(key: str, tmp_path: Path) -> None:
    for value in (nested(), {"0": nested()}, {"0": {"name": nested(), "desc": nested(), "ranks": nested()}}):
        written(tmp_path, {**stuck(), 0: {**stuck()[0], key: value}})
        assert named(pgregistry.diagnose(tmp_path)) == {3: "process"}


def test_a_rank_that_cannot_be_is_none() -> None:
    records = stuck()
    records[0]["pg_config"] = {"0": {"name": "0", "desc": "default_pg", "ranks": "[1099511627775]"}}
    assert named(pgregistry.diagnose(records)) == {3: "process"}
    with pytest.raises(ConfigError, match="it must be a rank"):
        pgregistry.diagnose({1 << 22: record()})


def test_two_backends_of_a_rank_in_two_files_are_one_record(tmp_path: Path) -> None:
    """Before torch 2.15 NCCL has a recorder of its own."""
    nccl = {rank: record(entry("nccl:all_reduce", process_group=("9", "ring"))) for rank in range(4)}
    ranks = {"9": {"name": "9", "desc": "ring", "ranks": "[0, 1, 2, 3]"}}
    records = {rank: {**one, "pg_config": ranks} for rank, one in nccl.items()}
    records[2]["entries"] = []
    gloo = {rank: record(entry(retired=True)) for rank in range(4)}
    written(written(tmp_path, gloo, "gloo_"), records)
    assert named(pgregistry.diagnose(tmp_path)) == {2: "process"}


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (pgregistry.plan(2), "It is for 2 ranks, but there is a record of ranks 2-3."),
        (pgregistry.plan(4, only=["tensor"]), "It has no mode 'pipe', of which rank 0 has a process group."),
        (pgregistry.plan(4, pipe=4), "Rank 2 is in group 1 of mode 'pipe', but in the plan in (0, 1, 2, 3)."),
    ],
)
def test_a_plan_of_another_run_is_left_out(plan: pgregistry.Plan, reason: str) -> None:
    records = stuck()
    for rank, one in records.items():
        index = rank // 2
        group = (f"job/groups/pipe/{index}", f"pgregistry:pipe/{index}")
        one["entries"].append(entry(process_group=group, retired=True))
    diagnosis = pgregistry.diagnose(records, plan)
    assert diagnosis.problems == (f"The plan is of another run, and left out. {reason}",)
    assert named(diagnosis) == {3: "process"}


def test_a_folder_must_be_there_and_hold_records(tmp_path: Path) -> None:
    way_out = "It must be a folder with the files that torch dumps, one a rank, such as nccl_trace_rank_0."
    with pytest.raises(ConfigError) as caught:
        pgregistry.diagnose(tmp_path / "nowhere")
    assert str(caught.value) == f"{tmp_path / 'nowhere'} cannot be read: No such file or directory. {way_out}"
    (tmp_path / "rank_0.log").write_text("all is well", encoding="utf-8")
    (tmp_path / "trace_3").write_text("all is well", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        pgregistry.diagnose(tmp_path)
    assert str(caught.value) == f"{tmp_path} holds no flight record that can be read. {way_out}"
    with pytest.raises(ConfigError, match="Not a directory"):
        pgregistry.diagnose(tmp_path / "trace_3")
    with pytest.raises(ConfigError, match="null"):
        pgregistry.diagnose("\0")


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ({}, "records must hold a flight record that can be read."),
        ({"0": record()}, "records has the key '0'; it must be a rank, a whole number from 0 on."),
        ({-1: record()}, "records has the key -1; it must be a rank, a whole number from 0 on."),
        ([record()], "must be a folder, or a mapping from rank to record."),
    ],
)
def test_records_must_be_a_mapping_from_rank_to_record(records: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pgregistry.diagnose(records)
    assert text in str(caught.value)
    with pytest.raises(ConfigError, match="must be a Plan"):
        pgregistry.diagnose(stuck(), "plan.json")  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["", ".json", ".pickle", ".pkl"])
@pytest.mark.parametrize("prefix", ["nccl_trace_rank_", "comm_lib_trace_rank_", "_dump_", "host-7/", ""])
def test_files_are_found_by_the_rank_that_ends_their_name(prefix: str, suffix: str, tmp_path: Path) -> None:
    for rank, one in stuck(12, 10).items():
        file = tmp_path / f"{prefix}{rank}{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(json.dumps(one).encode() if suffix == ".json" else pickle.dumps(one, protocol=2))
    (tmp_path / "fault_injection.log").write_text("Rank 3", encoding="utf-8")
    diagnosis = pgregistry.diagnose(tmp_path)
    assert (named(diagnosis), diagnosis.records) == ({10: "process"}, 12)
