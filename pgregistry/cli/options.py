"""Options of several commands, as keywords of `pgregistry.plan`; exit statuses, and how errors are printed."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import IO, Any, Final, TypeVar

import click

from pgregistry.errors import PgregistryError
from pgregistry.settings.options import OPTIONS, TEXT_OPTIONS

log = logging.getLogger("pgregistry.cli")

F = TypeVar("F", bound=Callable[..., Any])


#: A path that the shell completes. It is not checked here: the command that reads or writes it does.
PATH: Final = click.Path(readable=False)

#: None if it is not given, so that PGREGISTRY_TRACE counts.
trace_option: Final = click.option(
    "--trace", is_flag=True, default=None, help="Print on stderr which hooks are called and what they return."
)


def option(name: str) -> Callable[[F], F]:
    """Return the click option for one parameter of `pgregistry.plan` or `pgregistry.init`."""
    one = next(one for one in OPTIONS if one.name == name)
    words = f"--{(one.typed or name).replace('_', '-')}"
    if one.metavar is None:
        return click.option(words, name, is_flag=True, default=None, help=one.help)
    callback = _with_those_before if name == "plugins" else None
    return click.option(
        words,
        name,
        type=PATH if one.metavar in ("FILE", "DIR") else None,
        metavar=one.metavar,
        multiple=one.typed is not None,
        callback=callback,
        help=one.help,
    )


def _with_those_before(context: click.Context, _: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the plugins that `--plugin` names before the command, and those after it."""
    return (*context.find_root().params.get("named", ()), *given)


#: Options of a command that shows a plan: all but those of a run.
OF_PLAN: Final = tuple(
    name
    for name in TEXT_OPTIONS
    if name not in ("device", "agree_timeout", "build_timeout", "watch", "watch_dir", "expect")
)


def examples(*lines: str) -> str:
    r"""Return the examples of a command, for the end of its `--help`.

    >>> examples("pgregistry plugins")
    '\x08\nExamples:\n  pgregistry plugins'
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])  # click folds no line after a \b


def plan_options(*names: str) -> Callable[[F], F]:
    """Return what adds `--trace`, and the options of these names, to a command."""

    def add(command: F) -> F:
        command = trace_option(command)
        for name in reversed(names):
            command = option(name)(command)
        return command

    return add


def exit_status(command: Callable[[], object]) -> int:
    """Run a command, print what it raises on stderr in one line, and return the exit status."""
    if sys.stderr is None:  # the processes that a command starts need one
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        return _print("pgregistry: stdout is closed, but the results go there.", 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal whose encoding lacks ×
    try:
        try:
            status = command()
        except click.exceptions.Exit as end:  # --help and --version
            status = end.exit_code
        sys.stdout.flush()
    except PgregistryError as error:
        from pgregistry.testing.ranks.refusal import print_once, refusal  # needed only here

        text, status = refusal(error)
        return _fail(status, lambda: print_once(text))
    except click.ClickException as error:
        return _fail(error.exit_code, error.show)
    except (click.Abort, EOFError, KeyboardInterrupt):
        return 130
    except OSError as error:
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has stopped reading
            return 0
        return _print(f"pgregistry: the results cannot be written: {error}", 1)
    return status if isinstance(status, int) else 0


def _fail(status: int, show: Callable[[], object]) -> int:
    """Write an error to stderr; if nobody reads it, the exit status still shows that something is wrong."""
    try:
        show()
    except OSError as error:
        log.debug("stderr cannot be written: %s", error)
        _discard(sys.stderr)
    return status


def _print(text: str, status: int) -> int:
    return _fail(status, lambda: click.echo(text, err=True))


def _discard(stream: IO[str] | None) -> None:
    """Let Python write what is left of a stream at its end, without another error."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
