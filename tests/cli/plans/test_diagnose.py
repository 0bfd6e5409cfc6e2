"""`pgregistry diagnose`: text and JSON on stdout, what is wrong with records on stderr, exit status 1 for a culprit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flight import record, stuck

import pgregistry
from pgregistry.cli import run


def written(folder: Path, records: dict[int, object]) -> str:
    for rank, one in records.items():
        (folder / f"trace_{rank}").write_text(json.dumps(one), encoding="utf-8")
    return str(folder)


def test_a_culprit_is_named_with_exit_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", written(tmp_path, stuck())]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("Rank 3 holds up the run (process): it waits for nobody, and 3 ranks wait for it.\n")
    assert err == ""


def test_the_plan_names_mode_and_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(pgregistry.plan(4).to_json(), encoding="utf-8")
    records = tmp_path / "records"
    records.mkdir()
    assert run(["diagnose", written(records, stuck()), "--plan", str(plan), "--json"]) == 1
    (guilty,) = json.loads(capsys.readouterr().out)["guilty"]
    assert (guilty["mode"], guilty["group"], guilty["group_index"]) == ("global", [0, 1, 2, 3], 0)


def test_a_run_that_is_not_stuck_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", written(tmp_path, {0: record(), 1: record()})]) == 0
    assert capsys.readouterr().out == "Nobody waits.\n"


def test_what_is_wrong_is_on_stderr_with_exit_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, {0: record(), 1: record()})
    (tmp_path / "trace_1").write_bytes(b"")
    assert run(["diagnose", folder]) == 1
    assert capsys.readouterr() == (
        "Nobody waits.\nNo record: rank 1.\n",
        f"{tmp_path / 'trace_1'} is left out: it is empty.\n",
    )


def test_a_plan_or_folder_that_cannot_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", written(tmp_path, stuck()), "--plan", str(tmp_path / "trace_0")]) == 1
    assert capsys.readouterr().err.startswith(
        f"ConfigError: --plan {tmp_path / 'trace_0'} must hold the JSON of a plan."
    )
    assert run(["diagnose", str(tmp_path / "nowhere")]) == 1
    assert "nowhere cannot be read: No such file or directory." in capsys.readouterr().err
