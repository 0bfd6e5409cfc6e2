"""How processes with a context end: nobody closes it, an exception is under way, they were forked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ranks import run_ranks
from torch.utils.data import DataLoader, Dataset

import pgregistry
from pgregistry import BuildError, ConfigError

SCRIPTS = {
    "its own world": "context = pgregistry.init(tensor=2)\nuse(context)",
    "nobody keeps it": "pgregistry.init(tensor=2)\nuse(pgregistry.current())",
    "two contexts": "one, two = pgregistry.init(tensor=2), pgregistry.init()\nuse(one)\nuse(two)\none.close()",
    "a mesh": "context = pgregistry.init(tensor=2)\nuse(context)\nmesh = context.device_mesh('data', 'tensor')",
    "a world that was there": "dist.init_process_group('gloo')\ncontext = pgregistry.init(tensor=2)\nuse(context)",
    "an exit code": "context = pgregistry.init(tensor=2)\nuse(context)\nsys.exit(7)",
    "an exception on all": "context = pgregistry.init(tensor=2)\nuse(context)\nraise ValueError('all')",
    "an exception on one": """
context = pgregistry.init(tensor=2)
use(context)
if context.rank == 1:
    raise ValueError("one")
dist.all_reduce(torch.ones(1))
""",
}
START = """
import sys, torch, torch.distributed as dist, pgregistry
torch.set_num_threads(1)
def use(context):
    for mode in context:
        dist.all_reduce(torch.ones(1), group=context[mode].group)
"""


def exit_codes(script: str, count: int, folder: Path) -> list[int]:
    """Run a script on local ranks, and return their exit codes."""
    (folder / "script.py").write_text(START + script, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environ = {"GLOO_SOCKET_IFNAME": "lo", "RES_OPTIONS": "attempts:0", **os.environ}
    environ |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(folder / "script.py")]
    ranks = [
        subprocess.Popen(command, env=environ | {"RANK": str(rank)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for rank in range(count)
    ]
    try:
        for rank in ranks:
            print(rank.communicate(timeout=100)[1].decode()[-2000:])
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return [rank.returncode for rank in ranks]


#: How often a script is run, in `make test-all` and in `make soak`: such faults come now and then.
OFTEN = [pytest.param(2, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.soak)]


def expected(kind: str) -> int:
    return 7 if kind == "an exit code" else 1 if kind.startswith("an exception") else 0


@pytest.mark.parametrize("kind", ["an exception on one"])
def test_a_script_that_closes_nothing_ends_with_its_own_exit_code(kind: str, tmp_path: Path) -> None:
    assert exit_codes(SCRIPTS[kind], 2, tmp_path) == [expected(kind)] * 2


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("times", OFTEN)
@pytest.mark.parametrize("kind", SCRIPTS)
def test_scripts_that_close_nothing_end_with_their_own_exit_codes(kind: str, times: int, tmp_path: Path) -> None:
    assert [exit_codes(SCRIPTS[kind], 4, tmp_path) for _ in range(times)] == [[expected(kind)] * 4] * times


FORKS = """
import os
context = pgregistry.init(tensor=2)
use(context)
for code in (0, 7):
    child = os.fork()
    if not child:
        if code:
            context.close()
        sys.exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == code
use(context)
"""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("times", OFTEN)
@pytest.mark.parametrize("world", ["", "dist.init_process_group('gloo')"])
def test_forked_children_end_with_their_own_exit_code(world: str, times: int, tmp_path: Path) -> None:
    assert [exit_codes(world + FORKS, 4, tmp_path) for _ in range(times)] == [[0] * 4] * times


class Shard(Dataset[Any]):
    """Items that name the rank, which a forked worker reads from the context."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, item: int) -> list[int]:
        context = pgregistry.current()
        with pytest.raises(BuildError, match="This process was forked from the one that has the process group of mode"):
            _ = context["data"].group
        with pytest.raises(BuildError, match="This process was forked from the one that has the process groups"):
            context.verify()
        with pytest.raises(ConfigError, match="This process was forked from one with an open context"):
            pgregistry.init()
        context.close()
        return [item, context.rank, context["data"].rank, context.seed("data", base=1)]


def with_workers() -> Any:
    with pgregistry.init() as context:
        loader = DataLoader(Shard(), num_workers=2, batch_size=None, multiprocessing_context="fork")
        found = list(loader)
        context.verify()
        same = [context.rank, context["data"].rank, context.seed("data", base=1)]
        return [item[1:] for item in found] == [same] * 4


def test_workers_of_a_data_loader_read_the_context_and_cannot_use_its_process_groups() -> None:
    assert run_ranks(2, with_workers) == [True, True]
