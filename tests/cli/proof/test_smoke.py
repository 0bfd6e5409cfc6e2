"""`pgregistry smoke`, on real ranks."""

from __future__ import annotations

from typing import Any

import needs
import pytest
from command import command
from origin import EIGHT

import pgregistry


def names(table: str) -> list[str]:
    lines = table.splitlines()
    return [line.split()[0] for line in lines[1 : lines.index("")]]


@needs.QUIET
def test_smoke_starts_its_own_processes_and_proves_every_group() -> None:
    done = command("pgregistry", "smoke", "--nproc", "4", "tensor=2", "nettest=3", "--only", ",".join(EIGHT))
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == list(pgregistry.plan(4, tensor=2, nettest=3, only=EIGHT).modes)
    assert "4 ranks: every group proved; 10 process groups built for 19 groups" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_smoke_under_torchrun_starts_nothing_and_does_the_same() -> None:
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pgregistry", "smoke"]
    done = command(*torchrun, "tensor=2", "--backend", "gloo")
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == list(pgregistry.plan(2, tensor=2).modes)


@pytest.mark.slow
def test_smoke_uses_a_plugin_enabled_for_this_run(distribution: Any) -> None:
    source = "from pgregistry import *\n@hookimpl\ndef pgregistry_modes():\n    yield Mode('pairs', over=WORLD)\n"
    folder = distribution(
        "pgregistry-pairs", {"pairs": "pgregistry_pairs"}, {"pgregistry_pairs.py": source}, optional=True
    )
    words = ("pgregistry", "smoke", "--nproc", "2")
    path = {"PYTHONPATH": str(folder)}
    assert "pairs" not in names(command(*words, **path).stdout)
    assert "pairs" in names(command(*words, "--enable", "pairs", **path).stdout)


def test_what_a_plugin_prints_is_no_result(distribution: Any) -> None:
    source = (
        "from pgregistry import *\nprint('hello\\n', end='')\n@hookimpl\ndef pgregistry_ready(context):\n"
        "    print(f'ready {context.rank}\\n', end='')\n"  # in one piece: ranks share a stream
    )
    folder = distribution("pgregistry-loud", {"loud": "pgregistry_loud"}, {"pgregistry_loud.py": source})
    done = command("pgregistry", "smoke", "--nproc", "2", "--only", "tensor,loud", PYTHONPATH=str(folder))
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == ["tensor"]
    assert not {"hello", "ready"} & set(done.stdout.split())
    assert (done.stderr.count("hello\n"), done.stderr.count("ready 0\n"), done.stderr.count("ready 1\n")) == (3, 1, 1)


def test_smoke_says_why_it_failed_and_nothing_else(distribution: Any) -> None:
    source = (
        "from pgregistry import *\n@hookimpl\ndef pgregistry_ready(context):\n"
        "    if context.rank == 1:\n        raise RuntimeError('no disk')\n"
    )
    folder = distribution(
        "pgregistry-diskless", {"diskless": "pgregistry_diskless"}, {"pgregistry_diskless.py": source}
    )
    done = command("pgregistry", "smoke", "--nproc", "2", PYTHONPATH=str(folder))
    assert done.returncode == 1
    assert "plugin 'diskless', pgregistry-diskless 0.1 raised RuntimeError in pgregistry_ready: no disk" in done.stderr
    assert "Traceback" not in done.stderr
