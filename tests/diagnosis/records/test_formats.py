"""The formats in which torch writes records: pickle and JSON, versions 2.9 and later, NCCL under all of its names."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from flight import entry, record

import pgregistry

TABLES = Path(__file__).parents[2] / "tables" / "flight"


def real(scenario: str) -> dict[int, dict[str, Any]]:
    """Return the records of 16 real ranks, format 2.9."""
    found = {}
    with ZipFile(TABLES / f"{scenario}.zip") as archive:
        for name in archive.namelist():
            if name.startswith("_dump_"):
                found[int(name.removeprefix("_dump_"))] = pickle.loads(archive.read(name))
    return found


def described(records: Any) -> tuple[str, tuple[str, ...]]:
    diagnosis = pgregistry.diagnose(records)
    return str(diagnosis), diagnosis.problems


@pytest.mark.parametrize("scenario", ["gpu_error_1st", "lock_gil_1st"])
def test_json_is_read_as_the_pickle_is(scenario: str) -> None:
    """torch's JSON has lists for tuples, texts for the numbers of process groups, and no Python frames."""
    records = real(scenario)
    for one in records.values():
        for each in one["entries"]:
            each.pop("frames", None)
    assert described({rank: json.dumps(one) for rank, one in records.items()}) == described(records)


@pytest.mark.parametrize(("scenario", "culprits"), [("gpu_error_1st", {12, 14}), ("lock_gil_1st", {9, 14})])
def test_records_of_what_is_pending_alone_name_the_same_ranks(scenario: str, culprits: set[int]) -> None:
    """As torch writes them with TORCH_INCLUDE_ONLY_ACTIVE."""
    records = real(scenario)
    for one in records.values():
        one["entries"] = [each for each in one["entries"] if each["state"] != "completed"]
    assert {one.rank for one in pgregistry.diagnose(records).guilty} == culprits


@pytest.mark.parametrize("backend", ["nccl2", "nccl-legacy", "nccl-lazy", "ncclx", "rccl"])
@pytest.mark.parametrize("scenario", ["gpu_error_1st", "lock_gil_1st"])
def test_nccl_is_known_by_each_of_its_names(scenario: str, backend: str) -> None:
    records = real(scenario)
    expected = described(records)
    for one in records.values():
        for each in one["entries"]:
            each["profiling_name"] = each["profiling_name"].replace("nccl:", f"{backend}:")
    assert described(records) == expected


@pytest.mark.parametrize("version", ["2.9", "2.10", "2.11", "2.99"])
@pytest.mark.parametrize("retired", [True, False])
def test_what_only_some_versions_have_may_be_missing(version: str, retired: bool) -> None:
    """Fields that version 2.9 lacks, and null for times that were not taken."""
    group = ["f7", "pgregistry:global"]
    config = {"f7": {"name": "f7", "desc": group[1], "ranks": "[0, 1]"}}
    times = {"time_discovered_started_ns": None, "time_discovered_completed_ns": None, "duration_ms": None}
    done = entry("nccl2:all_reduce", process_group=group, state="completed", retired=retired, **times)
    waits = entry("nccl2:all_reduce", 2, process_group=group, state="started", **times)
    for one in (done, waits):
        del one["input_dtypes"], one["output_dtypes"]
    status = {"0": {"last_enqueued_collective": "2", "last_started_collective": 2, "last_completed_collective": 1}}
    records = {0: record(done, waits), 1: record(done)}
    records = {rank: {**one, "version": version, "pg_config": config} for rank, one in records.items()}
    records[0] |= {"pg_status": status, "comm_lib_version": "2.30.7", "nccl_comm_state": {"0x1": {"rank": "0"}}}
    diagnosis = pgregistry.diagnose({rank: json.dumps(one) for rank, one in records.items()})
    assert [(one.rank, one.kind, one.waiting) for one in diagnosis.guilty] == [(1, "process", (0,))]
    assert diagnosis.problems == ()


def test_a_rank_that_has_done_nothing_has_a_record_without_entries() -> None:
    nothing = {"version": "2.10", "comm_lib_version": "", "pg_config": {}, "pg_status": {}}
    waits = record(entry())
    diagnosis = pgregistry.diagnose({0: waits, 1: json.dumps(nothing), 2: pickle.dumps(nothing)})
    assert [(one.rank, one.kind) for one in diagnosis.guilty] == [(1, "process"), (2, "process")]
