"""`pgregistry plan` and `pgregistry plugins`: what a run would have, without starting it."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import Any

import click

from pgregistry.cli.options import command_line, option, plan_options, split_world_size, trace_option
from pgregistry.errors import ConfigError, PgregistryError, Problems
from pgregistry.planning.declarations import default_sizes
from pgregistry.planning.planner import make
from pgregistry.planning.plans import document
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import PluginStatus
from pgregistry.settings import launcher
from pgregistry.settings.tracing import tracing
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
    with tracing(trace), redirect_stdout(sys.stderr):  # a plugin may print; only results go to stdout
        plan = make(world_size, {}, command_line=typed, problems=problems, mode=mode, rank=rank).plan
    if as_json:
        click.echo(document.dumps(document.of_plan(plan, mode=mode, rank=rank, groups="all" if mode else "small")))
    else:
        tables.show_plan(plan, mode=mode, rank=rank)


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@option("enable")
@option("disable")
@option("only")
@option("config")
@trace_option
def plugins_command(as_json: bool, trace: bool | None, **options: Any) -> None:
    """Show which plugins are installed, which are on, and why not."""
    problems, names = Problems(), Problems()
    with tracing(trace):
        registry = Registry.read(problems, command_line=command_line((), options, problems))
        registry.check_names(names)
        rows = [_row(registry, status) for status in registry.statuses]
    if as_json:
        click.echo(document.dumps(rows))
    else:
        tables.show_plugins(rows)
    for trouble in (problems, names):  # what is installed is listed all the same
        try:
            trouble.raise_any()
        except ConfigError as error:
            click.echo(str(error), err=True)


def _row(registry: Registry, status: PluginStatus) -> dict[str, Any]:
    plugin, name, reason, modes = status.installed.plugin, status.name, status.reason, None
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
