"""The command line: `pgregistry` and `python -m pgregistry`.

Exit status: 0 success · 1 the plan, plugin or settings are wrong · 2 the command line cannot be parsed ·
3 ranks disagree. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from pgregistry.cli.check import check_command
from pgregistry.cli.new import new_command
from pgregistry.cli.options import print_error
from pgregistry.cli.plan import plan_command
from pgregistry.cli.plugins import plugins_command
from pgregistry.cli.smoke import smoke_command
from pgregistry.errors import PgregistryError, Problems
from pgregistry.registry.manager import Registry
from pgregistry.settings.tracing import tracing


class PluggableGroup(click.Group):
    """The built-in commands and those of plugins, which are loaded only if a name is not built in."""

    _loaded = False
    _failures: tuple[str, ...] = ()

    def _load_plugins(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        problems, failures = Problems(), []
        with tracing():
            registry = Registry.read(problems)
            failures += [str(status.error) for status in registry.statuses if status.error]
            for plugin in registry.active:
                before = dict(self.commands)
                try:
                    registry.call(plugin, "pgregistry_commands", cli=self)
                except PgregistryError as error:
                    failures.append(str(error))
                if taken := [name for name in before if self.commands.get(name) is not before[name]]:
                    failures.append(f"{plugin} has a command {taken[0]!r}, but that name is taken.")
                    self.commands.update(before)
        self._failures = tuple(failures)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, for `--help`."""
        self._load_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Look up a command; load plugins only if it is not built in."""
        if cmd_name not in self.commands:
            self._load_plugins()
        return super().get_command(ctx, cmd_name)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line for each plugin that failed to add its commands."""
        super().format_epilog(ctx, formatter)
        for failure in self._failures:
            formatter.write(f"\nNot available: {failure.splitlines()[0]}\n")


def make_cli() -> click.Group:
    """Return the command line, without the commands of plugins."""
    cli = PluggableGroup(
        "pgregistry",
        help="Plan, try out and inspect the process groups of a distributed PyTorch run.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(package_name="pgregistry", message="%(prog)s %(version)s", help="Print the version.")(cli)
    for command in (plan_command, smoke_command, plugins_command, check_command, new_command):
        cli.add_command(command)
    return cli


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal whose encoding lacks ×
    try:
        status = make_cli().main(
            args=None if arguments is None else list(arguments), prog_name="pgregistry", standalone_mode=False
        )
        sys.stdout.flush()
    except PgregistryError as error:
        return print_error(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0
