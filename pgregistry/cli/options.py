"""Options of several commands, as keywords of `pgregistry.plan`; how errors are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from pgregistry.errors import ConfigError, PgregistryError, PlanMismatch, Problems
from pgregistry.settings.options import OPTIONS, TEXT_OPTIONS
from pgregistry.settings.sources import assignments, split_assignment, toml_value

ORIGIN: Final = "command line"
F = TypeVar("F", bound=Callable[..., Any])


#: None if it is not given, so that PGREGISTRY_TRACE counts.
trace_option: Final = click.option(
    "--trace", is_flag=True, default=None, help="Print on stderr which hooks are called and what they return."
)


def option(name: str) -> Callable[[F], F]:
    """Return the click option for one parameter of `pgregistry.plan`."""
    one = next(one for one in OPTIONS if one.name == name)
    return click.option(f"--{name.replace('_', '-')}", metavar=one.metavar, multiple=one.repeatable, help=one.help)


def plan_options(command: F) -> F:
    """Add `--trace` and the parameters of `pgregistry.plan` to a command."""
    command = trace_option(command)
    for name in reversed(TEXT_OPTIONS):
        command = option(name)(command)
    return command


def command_line(pairs: Iterable[tuple[str, str]], options: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return NAME=SIZE pairs and options as keywords of `pgregistry.plan`; an empty option counts as not given."""
    values = assignments(pairs, ORIGIN, problems)
    for name, given in options.items():
        text = ",".join(given) if isinstance(given, tuple) else given
        values[name] = toml_value(text) if name == "ranks_per_host" and text else text or None
    return values


def split_world_size(words: Sequence[str]) -> tuple[int | None, list[tuple[str, str]]]:
    """Return the leading world size, or None, and the NAME=SIZE words as pairs.

    >>> split_world_size(["8", "tensor=2"])
    (8, [('tensor', '2')])

    Raises:
        click.UsageError: if a word is neither.
    """
    world_size, rest = None, list(words)
    if rest and "=" not in rest[0]:
        text = rest.pop(0)
        if not (text.isascii() and text.isdigit() and len(text) <= 30):
            raise click.UsageError(f"{text[:30]!r} is neither a world size nor NAME=SIZE.")
        world_size = int(text)
    try:
        return world_size, [split_assignment(word, ORIGIN) for word in rest]
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


def print_error(error: PgregistryError) -> int:
    """Print an error on stderr; return its exit status."""
    click.echo(f"{type(error).__name__}: {error}", err=True)
    return 3 if isinstance(error, PlanMismatch) else 1
