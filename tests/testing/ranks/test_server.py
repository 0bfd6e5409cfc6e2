"""The server of local ranks ends, and so do its ranks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgregistry.testing import LocalRanks


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def ends(process: int) -> bool:
    """Return True if a process is gone within a few seconds."""
    for _ in range(100):
        if not alive(process):
            return True
        time.sleep(0.1)
    return False


def test_the_server_imports_modules_once_and_leaves_no_process_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_large.py").write_text("import os\nprocess = os.getpid()\n")
    monkeypatch.syspath_prepend(tmp_path)

    def processes() -> tuple[int, int, int]:
        import acme_large  # type: ignore[import-not-found]

        return acme_large.process, os.getppid(), os.getpid()

    with LocalRanks(preload=["acme_large"]) as ranks:
        importer, server, rank = ranks.run(1, processes)[0]
        assert importer == server
        assert alive(server)
    assert ends(server)
    assert ends(rank)
    ranks.close()  # twice is fine


SCRIPT = """
import os, threading, sys
from pgregistry.testing import LocalRanks

def told():
    print(os.getppid(), os.getpid(), file=open(sys.argv[1], "w"), flush=True)
    threading.Event().wait()

LocalRanks().run(1, told, env={}, world=False)
"""


def test_no_process_is_left_when_the_one_that_asked_is_killed(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(SCRIPT.replace("sys.argv[1]", repr(str(tmp_path / "ids"))))
    asking = subprocess.Popen([sys.executable, str(tmp_path / "ask.py")])
    for _ in range(300):
        if (tmp_path / "ids").exists() and (tmp_path / "ids").read_text().endswith("\n"):
            break
        time.sleep(0.1)
    server, rank = map(int, (tmp_path / "ids").read_text().split())
    asking.kill()
    asking.wait()
    assert ends(server)
    assert ends(rank)
