"""Launchers of frameworks, for real, each in an environment of its own: accelerate, Lightning and Ray Train."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from environments import RAY, install, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

JOBS: Final = Path(__file__).with_name("jobs")
HOST: Final = os.uname().nodename


def said(command: Sequence[object], folder: Path, **more: str) -> list[str]:
    """Return what the ranks of a command write, in order."""
    done = run(command, folder, **more)
    lines = sorted(line.removeprefix("> ") for line in done.stdout.splitlines() if line.startswith("> "))
    assert lines, done.stdout[-3000:] + done.stderr[-3000:]
    return lines


def test_accelerate_launch(tmp_path: Path) -> None:
    programs = install(tmp_path / "venv", "accelerate")
    options = ("--multi_gpu", "--num_processes", 2, "--num_machines", 1, "--mixed_precision", "no")
    ranks = said([programs / "accelerate", "launch", *options, JOBS / "engine.py", "host"], tmp_path)
    assert ranks == [f"{rank} of 2 on {HOST}, sum 2, near (0, 1)" for rank in range(2)]


def test_lightning_fabric(tmp_path: Path) -> None:
    programs = install(tmp_path / "venv", "lightning")
    command = [programs / "python", JOBS / "lightning_fabric.py"]
    assert said(command, tmp_path) == [f"{rank} of 2 on {HOST}, sum 2, near None" for rank in range(2)]
    with_hosts = said([*command, "host"], tmp_path, PGREGISTRY_RANKS_PER_HOST="2")
    assert with_hosts == [f"{rank} of 2 on {HOST}, sum 2, near (0, 1)" for rank in range(2)]


def test_ray_train_with_four_workers(tmp_path: Path) -> None:
    programs = install(tmp_path / "venv", "ray")
    ranks = said([programs / "python", JOBS / "ray_train.py", tmp_path], tmp_path, **RAY)
    assert ranks == [f"{rank} of 4 on {HOST}, sum 4, near (0, 1, 2, 3)" for rank in range(4)]
