"""`pgregistry diff`: how two plans differ."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from pgregistry.cli.options import OF_PLAN, examples, plan_options
from pgregistry.cli.plans.plan import plan_of
from pgregistry.cli.words import SizesCommand
from pgregistry.planning.plans.expectation import read_plan
from pgregistry.planning.plans.plan import Plan


@click.command(
    "diff", epilog=examples('pgregistry diff "16 tensor=2" "16 tensor=4"', "pgregistry diff plan.json other.json")
)
@click.argument("a")
@click.argument("b")
def diff_command(a: str, b: str) -> None:
    """Show how two plans differ, and exit with 1 if they do.

    A and B are files with the JSON of a plan, or what `plan` takes, as one word: "16 tensor=2".
    """
    named: tuple[str, ...] = click.get_current_context().find_root().params.get("named", ())
    before = [f"--plugin={plugin}" for plugin in named]
    here, there = _read(a, before), _read(b, before)
    found = here.diff(there)
    click.echo("\n".join([f"here: {a}\nthere: {b}", *found]) if found else f"No difference: {here.fingerprint}")
    if found:
        raise click.exceptions.Exit(1)


def _read(text: str, before: Sequence[str]) -> Plan:
    """Return the plan in a file, or the plan of the words of a command line and of options that were given before."""
    try:
        words = shlex.split(text)
    except ValueError:  # a quotation mark that is not closed
        words = []
    sizes = bool(words) and (words[0].isdigit() or words[0].startswith("-") or "=" in words[0])
    if not sizes or Path(text).is_file():
        return read_plan(text, text)
    plan: Plan = _words_command.main([*before, *words], "pgregistry diff", standalone_mode=False)
    return plan


@click.command(cls=SizesCommand, add_help_option=False)
@click.argument("words", nargs=-1, metavar="[WORLD_SIZE] [NAME=SIZE]...")
@plan_options(*OF_PLAN)
def _words_command(words: tuple[str, ...], trace: bool | None, **options: str | None) -> Plan:
    """Return the plan of these words."""
    return plan_of(words, options, trace)
