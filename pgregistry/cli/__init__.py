"""The command line: `pgregistry` and `python -m pgregistry`.

Exit status: 0 fine · 1 what was asked about is wrong · 2 the command line cannot be parsed ·
3 ranks disagree. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from pgregistry.cli.check import check_command
from pgregistry.cli.new import new_command
from pgregistry.cli.options import say
from pgregistry.cli.plan import plan_command
from pgregistry.cli.plugins import plugins_command
from pgregistry.cli.smoke import smoke_command
from pgregistry.errors import PgregistryError, Problems
from pgregistry.registry.manager import Registry
from pgregistry.settings.tracing import tracing


class PluggableGroup(click.Group):
    """Commands of our own, and those that plugins add, which are loaded only when they may be meant."""

    _asked = False
    _failures: tuple[str, ...] = ()

    def _ask_plugins(self) -> None:
        if self._asked:
            return
        self._asked = True
        problems, failures = Problems(), []
        with tracing():
            registry = Registry.read(problems)
            failures += [str(status.error) for status in registry.statuses if status.error]
            for plugin in registry.active:
                ours = dict(self.commands)
                try:
                    registry.call(plugin, "pgregistry_commands", cli=self)
                except PgregistryError as error:
                    failures.append(str(error))
                if taken := [name for name in ours if self.commands.get(name) is not ours[name]]:
                    failures.append(f"{plugin} wants to replace the command {taken[0]!r}, which is taken.")
                    self.commands.update(ours)
        self._failures = tuple(failures)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, for `--help`."""
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name; plugins are asked only where it is none of ours."""
        if cmd_name not in self.commands:
            self._ask_plugins()
        return super().get_command(ctx, cmd_name)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line for each plugin that failed to add its commands."""
        super().format_epilog(ctx, formatter)
        for failure in self._failures:
            formatter.write(f"\nNot available: {failure.splitlines()[0]}\n")


def make_cli() -> click.Group:
    """The command line, without what plugins add to it."""
    cli = PluggableGroup(
        "pgregistry",
        help="Plan, try out and look at the process groups of a distributed PyTorch run.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    cli.params.append(_version_option())
    for command in (plan_command, smoke_command, plugins_command, check_command, new_command):
        cli.add_command(command)
    return cli


def _version_option() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked:
            click.echo(f"pgregistry {version('pgregistry')}")
            ctx.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="The version."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no × still gets a table
    try:
        status = make_cli().main(
            args=None if arguments is None else list(arguments), prog_name="pgregistry", standalone_mode=False
        )
        sys.stdout.flush()
    except PgregistryError as error:
        return say(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0
