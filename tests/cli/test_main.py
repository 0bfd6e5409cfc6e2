"""The command line as a whole: exit status, errors without a traceback, commands of plugins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgregistry.cli import run


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("plan 16 tensor=3", 1, "ConfigError: tensor = 3 does not divide world size 16.\n"),
        ("plan 0", 1, "ConfigError: world_size = 0 must be a whole number from 1 to 1099511627776.\n"),
        ("plan 8 tensor=2 tensor=4", 1, "ConfigError: 'tensor' is given twice (command line): 2 and 4. Remove one.\n"),
        ("plan 8 tensor=2.5", 1, "ConfigError: tensor = 2.5 (command line) must be a whole number"),
        ("plan 8 tensor=many", 1, "ConfigError: tensor = 'many' (command line) must be a whole number"),
        (
            "plan 8 timeout=3",
            1,
            "ConfigError: 'timeout' (command line) cannot be a size: plan() and init() have",
        ),
        ("plan 8 --rank 8", 1, "ConfigError: rank: 8 is out of range (command line): the ranks are 0 to 7.\n"),
        (
            "plan 8 --mode tenser",
            1,
            "ConfigError: mode: there is no mode 'tenser' (command line). Did you mean 'tensor'?\n",
        ),
        ("plan 8 --disable tenser", 1, "ConfigError: disable: no plugin is called 'tenser' (command line). Did"),
        ("plan 8 --only tenser", 1, "ConfigError: only: no plugin is called 'tenser' (command line). Did you"),
        (
            "plan 8 --order data,pipes tensor=2",
            1,
            "ConfigError: order: 'pipes' is not an axis (command line). Did you mean 'pipe'?",
        ),
        ("plan 8 --config nowhere.toml", 1, "ConfigError: config = nowhere.toml (command line) cannot be read: No"),
        ("plan 8 --ranks-per-host few", 1, "ConfigError: ranks_per_host = 'few' (command line) must be a whole"),
        (
            "plan 8 --hosts 0-3;5-7",
            1,
            "ConfigError: hosts (command line) must have each rank from 0 to 7 once; no host",
        ),
        ("plan 8 --hosts-per-domain 0", 1, "ConfigError: hosts_per_domain = 0 (command line) must be a whole number"),
        ("plan 8 --require nothing-like-it>=1", 1, "ConfigError: require: 'nothing-like-it>=1' (command line)"),
        ("smoke --nproc 4 tensor=3", 1, "ConfigError: tensor = 3 does not divide world size 4.\n"),
        ("plan", 2, "WORLD_SIZE is missing, and the environment does not set it."),
        ("plan eight", 2, "'eight' must be a world size or have the form NAME=SIZE. Type a size as in tensor=2."),
        ("plan 8 tensor", 2, "'tensor' must have the form NAME=SIZE. Type a size as in tensor=2."),
        ("plan 8 --rank five", 2, "Invalid value for '--rank': 'five' must be a whole number."),
        ("plan 8 --colour", 2, "No such option '--colour'"),
        ("plans 8", 2, "No such command 'plans'."),
        ("smoke tensor=2", 2, "Add --nproc N, or start this command with torchrun."),
        ("smoke 8", 2, "smoke takes its world size from --nproc or the launcher, not from 8."),
        ("smoke --nproc 0", 2, "0 is not in the range x>=1."),
    ],
)
def test_what_is_wrong_is_said_on_stderr_without_a_traceback(
    line: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == status
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert "Traceback" not in err


def test_an_empty_option_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "4"]) == 0
    said = capsys.readouterr()
    empty = [
        word for option in ("only", "config", "order", "enable", "disable", "require") for word in (f"--{option}", "")
    ]
    assert run(["plan", "4", *empty]) == 0
    assert capsys.readouterr() == said
    assert run(["plugins", "--json"]) == 0
    said = [row["status"] for row in json.loads(capsys.readouterr().out)]
    assert run(["plugins", "--json", "--only", "", "--config", "", "--enable", "", "--disable", ""]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == said


HELLO = """
import click
from pgregistry import hookimpl

@hookimpl
def pgregistry_commands(cli):
    @cli.command()
    @click.argument("who")
    def hello(who):
        "Greet."
        click.echo(f"hello {who}")
"""


GREEDY = """
import click
from pgregistry import hookimpl

@hookimpl
def pgregistry_commands(cli):
    @cli.command()
    def plan():
        click.echo("mine")
"""


FAILING = """
from pgregistry import hookimpl

@hookimpl
def pgregistry_commands(cli):
    raise RuntimeError("no network")
"""


def test_a_plugin_adds_commands(capsys: pytest.CaptureFixture[str], distribution: Any) -> None:
    distribution("pgregistry-hello", {"hello": "pgregistry_hello"}, {"pgregistry_hello.py": HELLO})
    assert run(["hello", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert run(["--help"]) == 0
    assert "hello     Greet." in capsys.readouterr().out


def test_a_plugin_that_fails_to_add_a_command_is_one_line_of_help(
    capsys: pytest.CaptureFixture[str], distribution: Any
) -> None:
    distribution("pgregistry-failing", {"failing": "pgregistry_failing"}, {"pgregistry_failing.py": FAILING})
    assert run(["--help"]) == 0
    said = (
        "Not available: plugin 'failing', pgregistry-failing 0.1 raised RuntimeError in pgregistry_commands: no network"
    )
    assert said in capsys.readouterr().out


WRONG_COMMANDS = """
import click
from pgregistry import hookimpl

class Shy(click.Command):
    def get_short_help_str(self, limit=45):
        raise SystemExit(3)

@hookimpl
def pgregistry_commands(cli):
    cli.commands |= {"shy": Shy("shy"), 4: click.Command("four"), "none": None}
"""


def test_a_command_that_cannot_be_listed_is_one_line_of_help(
    capsys: pytest.CaptureFixture[str], distribution: Any
) -> None:
    distribution("pgregistry-wrong", {"wrong": "pgregistry_wrong"}, {"pgregistry_wrong.py": WRONG_COMMANDS})
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    for what in ("'shy', which raised SystemExit: 3.", "4, which is not a name that can be", "'none', which is None."):
        assert f"Not available: plugin 'wrong', pgregistry-wrong 0.1 has a command {what}" in said
    assert "plan " in said


def test_a_plugin_cannot_replace_a_command(capsys: pytest.CaptureFixture[str], distribution: Any) -> None:
    distribution("pgregistry-greedy", {"greedy": "pgregistry_greedy"}, {"pgregistry_greedy.py": GREEDY})
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "plugin 'greedy', pgregistry-greedy 0.1 has a command 'plan', but that name is taken." in out
    assert run("plan 4 --json".split()) == 0
    assert json.loads(capsys.readouterr().out)["world_size"] == 4
