"""`pgregistry plugins`."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from typing import Any

import pytest
from origin import EIGHT

from pgregistry.cli import run


def test_plugins_lists_what_is_on_and_why_not(capsys: pytest.CaptureFixture[str], distribution: Any) -> None:
    broken = {"pgregistry_broken.py": "raise RuntimeError('out of order')"}
    distribution("pgregistry-broken", {"broken": "pgregistry_broken"}, broken)
    distribution("pgregistry-later", {"later": "pgregistry_later"}, {"pgregistry_later.py": ""}, optional=True)
    assert run(["plugins", "--json", "--disable", "tensor,model"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert 0 <= rows["data"].pop("import_seconds") < 60
    assert rows["data"].pop("imports_torch") in (False, None)  # if another test imported it
    assert rows["data"] == {
        "name": "data",
        "modes": ["data"],
        "sizes": {"data": "REST"},
        "settings": {},
        "distribution": "pgregistry",
        "version": pgregistry_version(),
        "path": str(importlib.metadata.distribution("pgregistry").locate_file("")),
        "entry_point": "pgregistry_data",
        "status": "active",
        "reason": None,
    }
    assert (rows["tensor"]["status"], rows["tensor"]["modes"]) == ("disabled", None)
    assert rows["tensor"]["reason"] == "disabled (command line)"
    assert rows["later"]["reason"] == "off until enabled (entry point group pgregistry.optional)"
    assert rows["broken"]["status"] == "failed"
    assert "RuntimeError: out of order" in rows["broken"]["reason"]
    assert run(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("broken "))
    assert lines[at].split()[:2] == ["broken", "failed"]
    assert lines[at + 1].endswith(" does not load: RuntimeError: out of order")
    assert lines[at + 2].startswith("    To run without it: ")
    assert lines[at + 3].startswith("    Found in ")


def pgregistry_version() -> str:
    from importlib.metadata import version

    return version("pgregistry")


def test_plugins_exits_0_whatever_it_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "--json", "--disable", "nobody"]) == 0
    out, err = capsys.readouterr()
    assert {row["name"]: row["status"] for row in json.loads(out)}.items() >= dict.fromkeys(EIGHT, "active").items()
    assert "no plugin is called 'nobody'" in err


FAILING = {
    "ring": "import flash_ring_attention_kernels_for_long_sequences",
    "expert": "def pgregistry_modes():\n    return []\n",
    "context": "raise RuntimeError('no driver: ' + 'the version of the driver is too old, ' * 9)",
}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_list_can_be_read_in_a_terminal_with_three_plugins_that_fail(width: int, distribution: Any) -> None:
    sites = [
        distribution(f"pgregistry-{name}", {name: f"failing_{name}"}, {f"failing_{name}.py": source})
        for name, source in FAILING.items()
    ]
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pgregistry", "plugins"]
    with subprocess.Popen(command, env=environ, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        written = b""
        with suppress(OSError):  # the end of a terminal is an error on Linux
            while chunk := os.read(ours, 1 << 16):
                written += chunk
        os.close(ours)
        assert process.wait(60) == 0
    lines = written.decode().replace("\r\n", "\n").splitlines()
    rows = {line.split()[0]: line.split()[1] for line in lines if line and not line.startswith(" ")}
    assert rows.items() >= {**dict.fromkeys(EIGHT, "active"), **dict.fromkeys(FAILING, "failed")}.items()
    text = " ".join(" ".join(lines).split())
    for reason in (
        "No module named 'flash_ring_attention_kernels_for_long_sequences'",
        "without @hookimpl",
        "no driver",
    ):
        assert reason in text
    for name, site in zip(FAILING, sites, strict=True):
        assert f"--disable {name} or" in text
        assert f"Found in {site}." in text
    if width == 80:
        assert [line for line in lines if len(line) > width and "/" not in line] == []  # a path is not cut
