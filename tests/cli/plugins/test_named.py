"""Every command sees the plugins that options, variables and files name, from the working directory too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
from pgregistry import Axis, Mode, Setting, hookimpl

@hookimpl
def pgregistry_settings():
    yield Setting("kernel", "safe", choices=("fast", "safe"))

@hookimpl
def pgregistry_modes():
    yield Mode("ring", over=Axis("ring", inside="data"))

@hookimpl
def pgregistry_commands(cli):
    @cli.command()
    def labcommand():
        "Print a word."
        print("from the lab")
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").touch()
    (tmp_path / "lab" / "modes.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "run.toml").write_text("plugins = ['lab.modes']\n", encoding="utf-8")
    return tmp_path


def command(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command, which does not look in the working directory by itself."""
    program = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
    code = "import sys; from pgregistry.cli import main; sys.path[:] = [one for one in sys.path if one]; main()"
    line = [*program, "-c", code, *words]
    return subprocess.run(line, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=100)


PLAN = ("plan", "4", "ring=2", "kernel=fast", "--only", "data", "--json")


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        ((*PLAN, "--plugin", "lab.modes"), {}),
        (("--plugin", "lab.modes", *PLAN), {}),
        (("--plugin", "lab.modes", *PLAN, "--plugin", "lab.modes"), {}),
        (PLAN, {"PGREGISTRY_PLUGINS": "lab.modes"}),
        ((*PLAN, "--config", "run.toml"), {}),
        (PLAN, {"PGREGISTRY_CONFIG": "run.toml"}),
    ],
    ids=["after the command", "before it", "both", "variable", "file", "file that a variable names"],
)
def test_plan_has_the_modes_and_settings_of_a_named_plugin(words: Any, environ: Any, lab: Path) -> None:
    done = command(lab, *words, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert [mode["plugin"] for mode in document["modes"]] == ["data", "modes"]
    assert document["settings"] == {"kernel": {"value": "fast", "from": "command line"}}


def test_plugins_lists_a_named_plugin_with_its_settings(lab: Path) -> None:
    done = command(lab, "plugins", "--json", "--plugin", "lab.modes")
    (row,) = [row for row in json.loads(done.stdout) if row["name"] == "modes"]
    assert (row["status"], row["modes"], row["settings"]) == ("active", ["ring"], {"kernel": "safe"})
    assert row["distribution"] is None
    shown = command(lab, "plugins", "--plugin", "lab.modes").stdout
    assert "ring=1, kernel=safe" in shown
    assert "not installed" in shown


def test_a_command_of_a_named_plugin_is_one_of_the_command_line(lab: Path) -> None:
    assert command(lab, "--plugin", "lab.modes", "labcommand").stdout == "from the lab\n"
    assert command(lab, "labcommand", PGREGISTRY_PLUGINS="lab.modes").stdout == "from the lab\n"
    assert command(lab, "labcommand", PGREGISTRY_CONFIG="run.toml").stdout == "from the lab\n"
    assert "labcommand" in command(lab, "--plugin", "lab.modes", "--help").stdout


@pytest.mark.slow
def test_smoke_and_check_run_with_a_named_plugin(lab: Path) -> None:
    done = command(lab, "smoke", "--nproc", "2", "ring=2", "kernel=fast", "--plugin", "lab.modes", "--only", "data")
    assert "every group proved" in done.stdout
    done = command(lab, "check", "modes", "--plugin", "lab.modes", "--only", "data")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "modes (not installed)")
