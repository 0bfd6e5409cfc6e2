"""Processes that a launcher starts, and how they end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


AGAIN = """
import os
import pgregistry, torch.distributed as dist
for sizes in ({"tensor": 2}, {"tensor": 2}, {"pipe": 2}):
    with pgregistry.init(**sizes) as context:
        context.verify()
    assert not dist.is_initialized()
    os.write(1, f"proved {len(context.plan.modes)}\\n".encode())  # in one piece, also beside another rank's
"""
RESTARTED = """
import os, signal, sys
import pgregistry
attempt, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
if attempt == 0 and sys.argv[1] == "before" and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if attempt == 0 and sys.argv[1] == "in build" and rank == 1:
    from pgregistry.runtime import initialize
    initialize.build = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with pgregistry.init(tensor=2, agree_timeout=20, build_timeout=20) as context:
    context.verify()
    if attempt == 0 and sys.argv[1] == "after":
        os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else context.verify()
    open(f"proved by {rank} in attempt {attempt}", "w").close()
"""


def torchrun(folder: Path, source: str, *arguments: str, ranks: int = 2, restarts: int = 0) -> str:
    """Return the output of a script under torchrun's agent; fail with all of it if the script fails."""
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [*command, "--max-restarts", str(restarts), str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_worlds_follow_one_another_under_one_agent(tmp_path: Path) -> None:
    assert torchrun(tmp_path, AGAIN).count("proved 8") == 6


@pytest.mark.parametrize("moment", ["before", "in build", "after"])
def test_a_restart_of_all_workers_works(moment: str, tmp_path: Path) -> None:
    """One worker is killed; the agent restarts both, and its store still has all keys of the first attempt."""
    said = torchrun(tmp_path, RESTARTED, moment, restarts=1)
    proved = sorted(path.name for path in tmp_path.glob("proved *"))
    assert proved == ["proved by 0 in attempt 1", "proved by 1 in attempt 1"], said


CAUGHT = """
import os
import pgregistry
try:
    # Ranks 0 and 1 agree and then wait for a world that the others never start.
    pgregistry.init(within=[0, 1] if int(os.environ["RANK"]) < 2 else [1, 2, 3], agree_timeout=4)
except pgregistry.PlanMismatch:
    os.write(1, b"refused\\n")
"""


def test_a_process_that_has_caught_the_error_of_init_ends_in_good_order(tmp_path: Path) -> None:
    assert torchrun(tmp_path, CAUGHT, ranks=4).count("refused") == 4


LEFT = """
import os, sys, time
import pgregistry
from pgregistry.runtime import initialize
if os.environ["RANK"] == "1":
    initialize.start_default_group = lambda *_, **__: (sys.stdout.flush(), os._exit(9))
begun = time.monotonic()
try:
    pgregistry.init(build_timeout=2)
except pgregistry.BuildError as error:
    print("refused", flush=True)
"""


CLEAN = """
import pgregistry
with pgregistry.init(tensor=2) as context:
    context.verify()
    print(len(context.plan.modes), flush=True)
"""


def processes(folder: Path, source: str, ranks: int = 2) -> list[tuple[str, str, int]]:
    """Return the output of a script on each rank, its errors and exit code, without multiprocessing around it."""
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    where = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, **where, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        return [(*process.communicate(timeout=40), process.returncode) for process in started]
    finally:
        for process in started:
            process.kill()


def test_a_process_ends_after_an_error_though_torch_still_waits(tmp_path: Path) -> None:
    """The thread that torch blocks in must keep nobody: not `sys.exit`, and not the scheduler behind it."""
    (said, errors, code), _ = processes(tmp_path, LEFT)
    assert (said, code) == ("refused\n", 0), errors


def test_a_process_that_had_no_error_ends_without_one(tmp_path: Path) -> None:
    for _ in range(8):
        for said, errors, code in processes(tmp_path, CLEAN):
            assert (said, code) == ("8\n", 0), errors
