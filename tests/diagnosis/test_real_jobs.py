"""Flight records of 16 real NCCL ranks with injected faults: the log of the injection is the truth."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import pytest

import pgregistry

TABLES = Path(__file__).parents[1] / "tables" / "flight"
KINDS = {"GPU_ERROR": "device", "LOCK_GIL": "process"}


def unpacked(scenario: str, folder: Path) -> Path:
    with ZipFile(TABLES / f"{scenario}.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("scenario", ["gpu_error_1st", "lock_gil_1st"])
def test_injected_ranks_are_named_with_their_kind_and_nobody_else(scenario: str, tmp_path: Path) -> None:
    folder = unpacked(scenario, tmp_path)
    log = (folder / "fault_injection.log").read_text(encoding="utf-8")
    truth = {int(rank): KINDS[kind] for rank, kind in re.findall(r"Rank (\d+), fault_type: (\w+)", log)}
    diagnosis = pgregistry.diagnose(folder)
    assert {one.rank: one.kind for one in diagnosis.guilty} == truth
    assert (diagnosis.missing_records, diagnosis.problems, diagnosis.records) == ((), (), 16)
    waiting = {rank for one in diagnosis.guilty for rank in (*one.waiting, *one.behind)}
    assert waiting | set(truth) == set(range(16))


def test_a_culprit_without_a_record_is_absent(tmp_path: Path) -> None:
    folder = unpacked("lock_gil_1st", tmp_path)
    (folder / "_dump_9").unlink()
    diagnosis = pgregistry.diagnose(folder)
    assert {one.rank: one.kind for one in diagnosis.guilty} == {9: "absent", 14: "process"}
    assert diagnosis.missing_records == (9,)


@pytest.mark.parametrize("rank", [0, 3, 7])
def test_a_bystander_without_a_record_is_missing_and_not_guilty(rank: int, tmp_path: Path) -> None:
    folder = unpacked("lock_gil_1st", tmp_path)
    (folder / f"_dump_{rank}").unlink()
    diagnosis = pgregistry.diagnose(folder)
    assert [one.rank for one in diagnosis.guilty] == [9, 14]
    assert diagnosis.missing_records == (rank,)


def test_groups_are_called_as_megatron_describes_them(tmp_path: Path) -> None:
    diagnosis = pgregistry.diagnose(unpacked("lock_gil_1st", tmp_path))
    wait = diagnosis.guilty[0].wait
    assert (wait.mode, wait.group, wait.collective, wait.sequence) == (
        "EXPERT_MODEL_PARALLEL_GROUP",
        tuple(range(8, 16)),
        "all_to_all",
        45265,
    )


def test_a_device_is_shown_with_what_it_finished_last_by_its_counters(tmp_path: Path) -> None:
    """The records hold what is pending alone."""
    text = str(pgregistry.diagnose(unpacked("gpu_error_1st", tmp_path)))
    assert text.startswith(
        "Rank 12 holds up the run (device): it is in an operation that rank 13 finished; its device or its link is "
        "stuck.\n"
        "  in      _all_gather_base #42806 of TENSOR_MODEL_PARALLEL_GROUP (ranks 12-13): rank 12 waits since "
        "2025-09-23 06:55:05 UTC\n"
        "  last    finished #42805 of TENSOR_MODEL_PARALLEL_GROUP (ranks 12-13)\n"
    )


@pytest.mark.parametrize("others", [1, 3])
def test_the_records_of_another_job_that_are_read_first_take_none_with_them(others: int, tmp_path: Path) -> None:
    """Most records do not contradict the first one, of another job: they have no process group in common."""
    folder = unpacked("gpu_error_1st", tmp_path / "gpu")
    other = unpacked("lock_gil_1st", tmp_path / "gil")
    for rank in range(others):
        (other / f"_dump_{rank}").replace(folder / f"_dump_{rank}")
    diagnosis = pgregistry.diagnose(folder)
    assert {one.rank: one.kind for one in diagnosis.guilty} == {12: "device", 14: "device"}
    assert diagnosis.missing_records == tuple(range(others))
    (problem,) = diagnosis.problems
    assert "of another job, and left out: its process group '39' differs." in problem
