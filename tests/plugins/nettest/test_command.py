"""The command `pgregistry nettest`, under a launcher and with ranks of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import needs
import pytest
from network_tests import pause_if
from pgregistry_nettest.analysis.report import Report
from ranks import run_ranks

from pgregistry import cli


def command(words: Sequence[str], odd: Sequence[str] = (), slow: int = -1) -> tuple[int | None, str, str]:
    """Run one rank of the command under a launcher. Rank 2 may have other words, and one rank may be slow."""
    rank = int(os.environ["RANK"])
    os.environ["GROUP_RANK"] = str(rank)
    pause_if(rank == slow, 0.05)
    out, errors, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = cli.run(["nettest", *words, *(odd if rank == 2 else ())])
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
    return status, out.getvalue(), errors.getvalue()


QUICK = ("--size", "1M", "--iterations", "5")


def test_the_command_says_who_is_slow_on_the_first_rank_and_ends_with_1_on_all() -> None:
    answers = run_ranks(6, command, QUICK, (), 3, world=False)
    assert [status for status, _, _ in answers] == [1] * 6
    out = answers[0][1]
    head, _, columns, row, *_ = out.splitlines()
    assert re.fullmatch(r"6 hosts, 2 partitions, gloo on cpu; 3 rounds in \d+\.\d\d s", head)
    assert columns.split("  ")[0] == "op"
    assert re.split(r"  +", columns.strip())[1:] == [
        *("size (B)", "count", "type", "time (us)", "algbw (GB/s)", "busbw (GB/s)", "slowest busbw")
    ]
    assert row.split()[:4] == ["all_reduce", "1048576", "262144", "float"]
    assert re.search(r"^SLOW HOST  host 3 \(.+\), rank 3: \d+\.\d times the usual time$", out, re.MULTILINE)
    assert [one[1] for one in answers[1:]] == [""] * 5
    assert "partition 0: all_reduce" in answers[0][2] or "done" in answers[0][2]


def test_the_command_ends_with_3_where_ranks_disagree() -> None:
    answers = run_ranks(3, command, QUICK, ("--warmup", "1"), world=False)
    # The command line raises; main() makes 3 of it.
    assert [status for status, _, _ in answers] == [3] * 3
    printed = [errors for _, _, errors in answers if "warmup:\n    ranks 0-1: 2\n    rank 2: 1" in errors]
    assert len(printed) == 1  # for all ranks of the host


@pytest.mark.slow
@needs.QUIET
def test_local_ranks_give_a_report_and_a_picture(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pgregistry", "nettest", "--nproc", "2", *QUICK, "--json", "--plot", "net.png"]
    environment = {**os.environ, "RES_OPTIONS": "attempts:0"}  # without DNS, torch waits 5 s for each name
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert Report.from_json(done.stdout).healthy
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_document_is_a_baseline(tmp_path: Path) -> None:
    file = tmp_path / "then.json"
    (status, text, _), _ = run_ranks(2, command, (*QUICK, "--json"), world=False)
    assert status == 0
    then = json.loads(text)
    for row in then["measurements"]:
        row["seconds"] /= 1000
        row["spread"] /= 1000
    file.write_text(json.dumps(then))
    (status, text, _), (other, _, _) = run_ranks(2, command, (*QUICK, "--baseline", str(file)), world=False)
    assert (status, other) == (1, 1)
    assert re.search(r"^SLOW FABRIC  all 2 hosts: \d+\.\d times the usual time$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Add --nproc N, or start this command with torchrun."),
        (("--nproc", "4", "--size", "1X"), "size = '1X' must be a number of bytes"),
        (("--nproc", "4", "--op", "gather"), "op = 'gather' must be one of all_reduce"),
        (("--nproc", "4", "--iterations", "3"), "3 is not in the range"),
        (("--nproc", "1"), "1 is not in the range"),
    ],
)
def test_a_bad_command_line_ends_with_2(words: Sequence[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["nettest", *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_the_command_comes_from_the_plugin_and_goes_with_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["--help"]) == 0
    assert "  nettest " in capsys.readouterr().out
    monkeypatch.setenv("PGREGISTRY_DISABLE", "nettest")
    assert cli.run(["nettest"]) == 2
