"""`pgregistry plugins`."""

from __future__ import annotations

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
    assert rows["data"] == {
        "name": "data",
        "modes": ["data"],
        "sizes": {"data": "REST"},
        "distribution": "pgregistry",
        "version": pgregistry_version(),
        "status": "active",
        "reason": None,
    }
    assert (rows["tensor"]["status"], rows["tensor"]["modes"]) == ("disabled", None)
    assert rows["tensor"]["reason"] == "disabled (command line)"
    assert rows["later"]["reason"] == "off until enabled (entry point group pgregistry.optional)"
    assert rows["broken"]["status"] == "failed"
    assert "RuntimeError: out of order" in rows["broken"]["reason"]
    assert run(["plugins"]) == 0
    assert "broken    —" in capsys.readouterr().out


def pgregistry_version() -> str:
    from importlib.metadata import version

    return version("pgregistry")


def test_plugins_exits_0_whatever_it_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "--json", "--disable", "nobody"]) == 0
    out, err = capsys.readouterr()
    assert {row["name"]: row["status"] for row in json.loads(out)}.items() >= dict.fromkeys(EIGHT, "active").items()
    assert "no plugin is called 'nobody'" in err
