"""`launch_ranks`, which commands with `--nproc` use: the environment of its ranks, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import os
import sys


def work(folder, code):
    rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    with open(os.path.join(folder, rank), "w") as file:
        file.write(size + " " + os.environ["MASTER_ADDR"])
    print("rank", rank, "writes to the terminal")
    if rank == "1" and code:
        sys.exit(code)
"""


SCRIPT = """
import acme_tool
from pgregistry.testing import launch_ranks

codes = (0, 1, 3, 5)
print("statuses", [launch_ranks(2, acme_tool.work, (FOLDER, code), preload=["acme_tool"]) for code in codes])
"""


@pytest.mark.slow
def test_ranks_have_an_environment_like_torchruns_and_the_worst_ending_counts(tmp_path: Path) -> None:
    (tmp_path / "acme_tool.py").write_text(WORK)
    words = [sys.executable, "-c", SCRIPT.replace("FOLDER", repr(str(tmp_path)))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "statuses [0, 1, 3, 1]" in done.stdout.splitlines()
    assert [(tmp_path / rank).read_text().split()[0] for rank in "01"] == ["2", "2"]
    assert "rank 0 writes to the terminal" in done.stdout.splitlines()
