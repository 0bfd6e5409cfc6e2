"""The pytest plugin: cheap until it is used, and an installed plugin is gone after the test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from plugin_sources import Install, modes

import pgregistry
from pgregistry import ConfigError


def test_the_pytest_plugin_imports_nothing_until_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_modules.py").write_text(
        "import sys\ndef test_modules():\n    assert not {'torch', 'pgregistry'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_modules.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "1 passed" in done.stdout, done.stdout


def test_an_installed_plugin_is_found_like_any_other_and_gone_after_the_test(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "acme/__init__.py": "from acme.modes import pgregistry_modes",
        "acme/modes.py": modes("yield Mode('a', over=())"),
    }
    folder = installed_plugin("pgregistry-acme", {"acme": "acme"}, files, version="1.2")
    plan = pgregistry.plan(2)
    assert str(plan["a"].plugin) == "plugin 'acme', pgregistry-acme 1.2"
    assert Path(sys.modules["acme.modes"].__file__ or "").parent == folder / "acme"
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    with pytest.raises(ConfigError, match="The plan has no mode 'a'"):
        pgregistry.plan(2)["a"]


def test_the_module_of_the_test_before_is_gone() -> None:
    assert not {"acme", "acme.modes", "acme_plugin"} & set(sys.modules)
