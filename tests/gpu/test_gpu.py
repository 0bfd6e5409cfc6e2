"""`make gpu` on a machine without a GPU: one line, or its rows with gloo to try the script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run.py")


def table(*words: str) -> list[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_without_a_gpu_it_ends_at_once_with_one_line() -> None:
    import torch

    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    assert table() == [f"make gpu: torch {torch.__version__} finds no GPU on this host, so nothing was run."]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_rows_pass_with_gloo_on_cpus() -> None:
    lines = table("--cpu", "2")
    rows = [line for line in lines if line.startswith("| 2 |")]
    assert len(rows) == 15
    skipped = [row for row in rows if "skipped: needs" in row]
    assert len(skipped) == 6
    assert lines[-1] == "skipped: 8 ranks, for there are 2"
