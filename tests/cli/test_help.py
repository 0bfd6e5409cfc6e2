"""`--help` of each command: its examples are ones that work. A shell completes what can be typed."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command import command

import pgregistry
from pgregistry import cli

#: Commands whose examples start ranks or test plugins: other tests run these.
LONG = {"smoke", "check", "nettest", "diagnose"}


def commands() -> dict[str, click.Command]:
    """Return every command, with those of the plugins that are bundled."""
    group = cli.make_cli()
    context = click.Context(group, info_name="pgregistry")
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: one for name, one in found.items() if one is not None}


def examples(text: str) -> list[str]:
    """Return the lines below `Examples:` in a help page."""
    return [line.strip() for line in text.partition(" Examples:\n")[2].splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["", *commands()])
def test_every_help_has_examples_that_work(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, size in (("plan.json", 2), ("other.json", 4)):
        Path(file).write_text(pgregistry.plan(16, tensor=size).to_json(), encoding="utf-8")
    assert cli.run([*filter(None, [name]), "--help"]) == 0
    typed = examples(capsys.readouterr().out)
    assert len(typed) >= 2
    for line in typed:
        words = shlex.split(line.partition(" > ")[0])
        program = words.index("pgregistry")  # torchrun … -m pgregistry
        assert program == 0 or words[0] == "torchrun"
        command_name, *arguments = words[program + 1 :]
        assert name in ("", command_name)
        if command_name in LONG:
            commands()[command_name].make_context(command_name, arguments)
        else:
            assert cli.run([command_name, *arguments]) == (1 if command_name == "diff" else 0), line


def test_the_list_of_commands_fits_80_columns_uncut() -> None:
    with click.Context(cli.make_cli(), info_name="pgregistry", terminal_width=80) as context:
        lines = context.get_help().partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(lines) == len(commands())
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


def test_a_shell_completes_commands_options_and_files() -> None:
    cases = [
        (("sh",), "plain,show"),
        (("plan", "--ranks"), "plain,--ranks-per-host"),
        (("plan", "--config", "p"), "file,p"),
        (("show", "--html", "p"), "file,p"),
        (("diagnose", "p"), "file,p"),
    ]
    for typed, expected in cases:
        words = shlex.join(["pgregistry", *typed])
        done = command("pgregistry", _PGREGISTRY_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(typed)))
        assert done.stdout.split() == [expected]


@pytest.mark.parametrize(("variable", "coloured"), [("UNRELATED", True), ("NO_COLOR", False)])
def test_letters_have_colours_in_a_terminal_unless_it_wants_none(variable: str, coloured: bool) -> None:
    environ = {**os.environ, "TERM": "xterm-256color", variable: "1"}
    if coloured:
        environ.pop("NO_COLOR", None)
    reader, writer = pty.openpty()
    program = [sys.executable, "-m", "pgregistry", "show", "2", "--only", "data"]
    with subprocess.Popen(program, stdout=writer, env=environ):
        os.close(writer)
        text = b""
        try:
            while chunk := os.read(reader, 65536):
                text += chunk
        except OSError:  # how Linux ends a terminal
            pass
    os.close(reader)
    assert (b"\x1b[" in text) == coloured
    assert b"rank" in text
