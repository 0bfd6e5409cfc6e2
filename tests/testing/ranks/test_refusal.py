"""Ranks that refuse together print their text once a host; a rank with a text of its own prints that."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os
from pgregistry import ConfigError, PlanMismatch
from pgregistry.testing.ranks.refusal import work

def refuse(rank):
    raise ConfigError("of rank 2 alone") if rank == 2 else PlanMismatch("of all others")

children = []
for rank in range(5):
    if not (child := os.fork()):
        os.environ.update({VARIABLE: str(rank), "WORLD_SIZE": "5"})
        try:
            work(refuse, rank)
        except SystemExit as end:
            os._exit(end.code)
    children.append(child)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of sockets that are no files")
@pytest.mark.parametrize(("variable", "times"), [("RANK", 1), ("NO_RANK", 4)], ids=["ranks", "programs of their own"])
def test_ranks_that_refuse_for_one_reason_print_it_once(variable: str, times: int) -> None:
    script = SCRIPT.replace("VARIABLE", repr(variable))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[1, 3, 3, 3, 3]\n"
    refused = ["ConfigError: of rank 2 alone", *["PlanMismatch: of all others"] * times]
    assert sorted(done.stderr.splitlines()) == refused
