"""`pgregistry plugins`."""

from __future__ import annotations

import importlib.metadata
import json
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
