"""The streams of the command line: a reader that leaves, no stdout, a full disk; and numbers of any length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pgregistry.cli import run

COMMANDS = (
    *("plan 8", "plan 8 --json", "plan 65536 --mode dummy", "plugins", "new streams", "--help"),
    *(
        pytest.param(command, marks=pytest.mark.slow)
        for command in (
            *("plan 8 --rank 3", "plugins --json", "--version", "plan --help", "check tensor", "smoke --nproc 2"),
        )
    ),
)
#: How a shell runs a command, and what is to come of it: the exit status, and how many lines stand on stderr.
STREAMS = {
    "{} | true": (0, 0),
    "{} | head -c 10": (0, 0),
    "{} >&-": (1, 1),
    "{} >/dev/full": (1, 1),
}


def shell(line: str, folder: Path) -> tuple[int, list[str]]:
    """Return the exit status of the first command of a pipe, and the lines that it writes on stderr."""
    command = f"{line.format(f'{sys.executable} -m pgregistry')}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, stderr=subprocess.PIPE, text=True, timeout=100)
    # The progress bar, and what `new` advises: it may be done before its reader leaves.
    usual = ("proving", "Next: ")
    return done.returncode, [
        line for line in done.stderr.splitlines() if not any(word in line for word in usual) and line
    ]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_nobody_can_read_is_no_traceback(command: str, stream: str, tmp_path: Path) -> None:
    status, lines = shell(stream.replace("{}", f"{{}} {command}"), tmp_path)
    assert (status, len(lines)) == STREAMS[stream], lines


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("plan 8", 0),
        ("plan 8 tensor=3", 1),
        ("plans", 2),
        pytest.param("smoke --nproc 2", 0, marks=pytest.mark.slow),
    ],
)
def test_a_closed_stderr_changes_no_exit_status(command: str, status: int, tmp_path: Path) -> None:
    assert shell(f"{{}} {command} 2>&- >/dev/null", tmp_path) == (status, [])


@pytest.mark.parametrize(("command", "status"), [("plan 8 tensor=3", 1), ("plans", 2)])
@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&1 | true"])
def test_an_error_that_nobody_can_read_keeps_its_exit_status(
    command: str, status: int, stream: str, tmp_path: Path
) -> None:
    assert shell(f"{{}} {command} {stream}", tmp_path)[0] == status


NUMBERS = ("9" * 5000, "-" + "9" * 5000, "0x" + "f" * 5000, "1e" + "9" * 5000, "9" * 5000 + ".5")
LINES = (
    *("plan {}", "plan 8 --rank {}", "plan 8 tensor={}", "plan 8 tensor={} tensor={}", "plan 8 {}=3"),
    *("plan 8 --ranks-per-host {}", "plan 8 zero1={{size={}}}", "plan 8 zero1={{timeout={}}}"),
    *("plan 8 zero1={{dedicated={}}}", "plan 8 zero1={{backend={}}}", "plan 8 zero1={{{}=1}}", "plan 8 --order {}"),
    *("plan 8 --only {}", "plan 8 --enable {}", "plan 8 --require {}", "plan 8 --require x=={}", "plan 8 --mode {}"),
    *("plan 8 --config {}", "smoke --nproc {}", "new {}", "new a{}", "check {}", "nettest --nproc {}"),
    *("nettest --nproc 2 --size {}", "nettest --nproc 2 --slow {}", "nettest --nproc 2 --iterations {}", "{}"),
)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:3])
@pytest.mark.parametrize("line", LINES)
def test_a_number_of_any_length_is_refused_in_a_bounded_text(
    line: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word.format(number) for word in line.split()]) in (1, 2)
    err = capsys.readouterr().err
    assert err
    assert len(err) < 21_000


VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "SLURM_PROCID", "SLURM_NTASKS"),
    *("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PGREGISTRY_RANKS_PER_HOST", "PGREGISTRY", "PGREGISTRY_TRACE"),
)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:3])
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_number_of_any_length_in_a_variable_is_never_a_raw_error(
    variable: str, number: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**torchrun, variable: f"tensor={number}" if variable == "PGREGISTRY" else number}.items():
        monkeypatch.setenv(name, value)
    if variable not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "PGREGISTRY"):
        monkeypatch.delenv("RANK")
        monkeypatch.delenv("WORLD_SIZE")
    for line in ("plan", "plan 8", "smoke"):
        if line != "smoke" or variable in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            assert run(line.split()) in (0, 1, 2)
            assert len(capsys.readouterr().err) < 21_000
