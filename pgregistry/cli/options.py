"""What `plan` and `smoke` have in common: sizes, switches and the world size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from pgregistry.errors import PgregistryError, PlanMismatch, Problems
from pgregistry.settings.sources import assignments

ORIGIN: Final = "command line"
F = TypeVar("F", bound=Callable[..., Any])


#: None where it is not given, so that PGREGISTRY_TRACE counts.
trace_option: Final = click.option(
    "--trace", is_flag=True, default=None, help="Tell on stderr what plugins are asked and answer."
)


def plan_options(command: F) -> F:
    """Add the options that say what to plan, in the spelling of `pgregistry.plan`."""
    for option in reversed(
        (
            click.option("--order", metavar="A,B,C", help="Axes, outermost first."),
            click.option("--enable", metavar="A,B", multiple=True, help="Plugins to switch on."),
            click.option("--disable", metavar="A,B", multiple=True, help="Plugins to leave out."),
            click.option("--only", metavar="A,B", multiple=True, help="The plugins to use, and no others."),
            click.option("--require", metavar="REQUIREMENT", multiple=True, help="Distributions that must be there."),
            click.option("--ranks-per-host", metavar="N", help="How many ranks one host has."),
            click.option("--config", metavar="FILE", help="A TOML file with the same names."),
            trace_option,
        )
    ):
        command = option(command)
    return command


def command_line(words: Sequence[str], options: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """NAME=SIZE words and options, as the keywords of `pgregistry.plan`."""
    values = assignments(words, ORIGIN, problems)
    for name in ("enable", "disable", "only", "require"):
        values[name] = ",".join(options[name]) or None  # an empty variable of a script says nothing
    for name in ("order", "config"):
        values[name] = options[name] or None
    if (per_host := options["ranks_per_host"]) is not None:
        values["ranks_per_host"] = int(per_host) if per_host.isascii() and per_host.isdigit() else per_host
    return values


def split_world_size(words: Sequence[str]) -> tuple[int | None, list[str]]:
    """The leading world size, if there is one, and the NAME=SIZE words.

    Raises:
        click.UsageError: if a word is neither.
    """
    world_size, rest = None, list(words)
    if rest and "=" not in rest[0]:
        text = rest.pop(0)
        if not (text.isascii() and text.isdigit() and len(text) <= 30):
            raise click.UsageError(f"{text[:30]!r} is neither a world size nor NAME=SIZE.")
        world_size = int(text)
    for word in rest:
        name, equals, _ = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{word!r} is not of the form NAME=SIZE, as in tensor=2.")
    return world_size, rest


def say(error: PgregistryError) -> int:
    """Tell the user what is wrong, on stderr; the exit status that goes with it."""
    click.echo(f"{type(error).__name__}: {error}", err=True)
    return 3 if isinstance(error, PlanMismatch) else 1
