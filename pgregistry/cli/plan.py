"""`pgregistry plan` and `pgregistry plugins`: what a run would have, without starting it."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import Any

import click

from pgregistry.cli.options import command_line, plan_options, split_world_size, trace_option
from pgregistry.errors import ConfigError, PgregistryError, Problems
from pgregistry.planning.declarations import default_sizes
from pgregistry.planning.planner import make
from pgregistry.planning.plans import document
from pgregistry.registry.manager import Registry, Status
from pgregistry.registry.trace import tracing
from pgregistry.settings import launcher
from pgregistry.settings.merge import read_settings
from pgregistry.views import tables


@click.command("plan")
@click.argument("words", nargs=-1, metavar="[WORLD_SIZE] [NAME=SIZE]...")
@plan_options
@click.option("--rank", type=int, metavar="R", help="Show the groups of this rank.")
@click.option("--mode", metavar="M", help="Show this mode only, with all its groups.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan_command(
    words: tuple[str, ...],
    rank: int | None,
    mode: str | None,
    as_json: bool,
    trace: bool | None,
    **options: Any,
) -> None:
    """Show every group of every mode, for any world size, without torch."""
    world_size, sizes = split_world_size(words)
    problems = Problems()
    typed = command_line(sizes, options, problems)
    if world_size is None:
        world_size = launcher.world_size(os.environ)
    if world_size is None:
        raise click.UsageError("WORLD_SIZE is missing, and the environment does not say it.")
    with redirect_stdout(sys.stderr):  # for what a plugin prints: results alone are on stdout
        plan = make(world_size, {}, command_line=typed, problems=problems, mode=mode, rank=rank, trace=trace).plan
    if as_json:
        click.echo(document.dumps(document.of_plan(plan, mode=mode, rank=rank, groups="all" if mode else "small")))
    else:
        tables.show_plan(plan, mode=mode, rank=rank)


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--enable", metavar="A,B", multiple=True, help="Plugins to switch on.")
@click.option("--disable", metavar="A,B", multiple=True, help="Plugins to leave out.")
@click.option("--only", metavar="A,B", multiple=True, help="The plugins to use, and no others.")
@click.option("--config", metavar="FILE", help="A TOML file with the same names.")
@trace_option
def plugins_command(as_json: bool, trace: bool | None, **options: Any) -> None:
    """Show which plugins are installed, which are on, and why not."""
    typed = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in options.items()}
    problems = Problems()
    settings = read_settings(problems, keywords={}, command_line={name: value or None for name, value in typed.items()})
    registry = Registry.load(settings, trace=tracing(trace))
    names = Problems()
    registry.check_names(settings, names)
    rows = [_row(registry, status) for status in registry.statuses]
    if as_json:
        click.echo(document.dumps(rows))
    else:
        tables.show_plugins(rows)
    for trouble in (problems, names):  # said, but what is installed is listed all the same
        try:
            trouble.raise_any()
        except ConfigError as error:
            click.echo(str(error), err=True)


def _row(registry: Registry, status: Status) -> dict[str, Any]:
    plugin, name, reason, modes = status.found.plugin, status.name, status.reason, None
    if status.error:
        reason = str(status.error)
    elif name == "active":
        try:
            modes = registry.modes(plugin)
        except PgregistryError as error:
            name, reason = "failed", str(error)
    return {
        "name": plugin.name,
        "modes": None if modes is None else [mode.name for mode in modes],
        "sizes": None if modes is None else default_sizes(modes),
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": name,
        "reason": reason,
    }
