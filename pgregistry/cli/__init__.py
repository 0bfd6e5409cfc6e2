"""The command line: `pgregistry` and `python -m pgregistry`.

Exit status: 0 success · 1 the plan, plugin or settings are wrong · 2 the command line cannot be parsed ·
3 ranks disagree. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import click

from pgregistry.cli.options import examples, exit_status
from pgregistry.cli.streams import printing_to_stderr
from pgregistry.errors import PgregistryError, Problems, describe
from pgregistry.registry.distributions import core_version
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import plugin_error
from pgregistry.settings.options import OPTIONS
from pgregistry.settings.tracing import tracing
from pgregistry.values import shown

#: The built-in commands, each with its module, which is imported when the command is used.
BUILT_IN: Final = {
    "plan": "plans.plan",
    "show": "plans.show",
    "order": "plans.order",
    "diff": "plans.diff",
    "diagnose": "plans.diagnose",
    "smoke": "proof.smoke",
    "check": "proof.check",
    "plugins": "plugins.installed",
    "new": "plugins.new",
}


class PluggableGroup(click.Group):
    """The built-in commands and those of plugins, which are loaded only if a name is not built in."""

    _loaded = False
    _failures: tuple[str, ...] = ()

    def _load_plugins(self, ctx: click.Context) -> None:
        if self._loaded:
            return
        self._loaded = True
        for name in BUILT_IN:
            self._add_built_in(name)
        with tracing(), printing_to_stderr():
            typed = {"plugins": ",".join(ctx.find_root().params.get("named", ())) or None}
            # A command of pgregistry reports what is wrong with the settings.
            registry = Registry.read(Problems(), command_line=typed)
            failures = [str(status.error) for status in registry.statuses if status.error]
            for plugin in registry.active:
                before = dict(self.commands)
                try:
                    registry.call(plugin, "pgregistry_commands", cli=self)
                except PgregistryError as error:
                    failures.append(str(error))
                if taken := [name for name in before if self.commands.get(name) is not before[name]]:
                    failures.append(
                        str(plugin_error(f"{plugin} has a command {taken[0]!r}, but that name is taken.", plugin))
                    )
                    self.commands.update(before)
                for name, what in [(name, _wrong_command(name, one)) for name, one in self.commands.items()]:
                    if what is not None:
                        del self.commands[name]
                        text = f"{plugin} has a command {shown(name)}, which {what}."
                        failures.append(str(plugin_error(text, plugin)))
        self._failures = tuple(dict.fromkeys(failures))

    def _add_built_in(self, name: str) -> None:
        if name not in self.commands:
            module = importlib.import_module(f"pgregistry.cli.{BUILT_IN[name]}")
            self.add_command(getattr(module, f"{name}_command"))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, for `--help`."""
        self._load_plugins(ctx)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Look up a command; load plugins only if it is not built in."""
        if cmd_name in BUILT_IN:
            self._add_built_in(cmd_name)
        elif cmd_name not in self.commands:
            self._load_plugins(ctx)
        return super().get_command(ctx, cmd_name)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line for each plugin that failed to add its commands."""
        super().format_epilog(ctx, formatter)
        for failure in self._failures:
            what, *more = failure.splitlines()
            formatter.write(f"\nNot available: {what}{f' ({more[-1]})' if more else ''}\n")


def _wrong_command(name: object, command: object) -> str | None:
    """Return why a command of a plugin cannot be listed, None if it can."""
    if not isinstance(name, str) or not name.isprintable():
        return "is not a name that can be printed"
    if not isinstance(command, click.Command):
        return f"is {shown(command)}"
    try:
        command.get_short_help_str()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"raised {describe(error)}"
    return None


def make_cli() -> click.Group:
    """Return the command line; commands are added when they are used."""
    about = "Plan, try out and inspect the process groups of a distributed PyTorch run."
    epilog = examples("pgregistry plan 16 tensor=2 pipe=2", "pgregistry show 16 tensor=2 --html plan.html")
    names = {"help_option_names": ["-h", "--help"]}
    cli = PluggableGroup("pgregistry", help=about, epilog=epilog, context_settings=names)
    version = click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
    )
    named = next(one for one in OPTIONS if one.name == "plugins")
    words = ["--plugin", "named"]
    cli.params += [version, click.Option(words, metavar=named.metavar, multiple=True, is_eager=True, help=named.help)]
    cli.callback = _before_command
    return cli


def _version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        click.echo(f"pgregistry {core_version()}")
        context.exit()


def _before_command(named: tuple[str, ...]) -> None:
    """Do nothing: a command reads the plugins that `--plugin` names before it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    return exit_status(partial(_invoke, [*(sys.argv[1:] if arguments is None else arguments)]))


def _invoke(words: list[str]) -> object:
    """Do what `main` of click does, which exits with 1 if the reader of stdout, such as `head`, has left."""
    cli = make_cli()
    if instruction := os.environ.get("_PGREGISTRY_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "pgregistry", "_PGREGISTRY_COMPLETE", instruction)
    named = not {"PGREGISTRY_PLUGINS", "PGREGISTRY_CONFIG"}.isdisjoint(os.environ) or any(
        part.startswith(("--plugin", "--config")) for word in words for part in word.split()
    )  # a word of `diff` may hold several
    here = [os.getcwd()] if named else []  # `python -m pgregistry` has it already, first
    sys.path += here
    try:
        with cli.make_context("pgregistry", words) as context:
            return cli.invoke(context)
    finally:
        with suppress(ValueError):  # a plugin has taken it out
            for folder in here:
                sys.path.remove(folder)
