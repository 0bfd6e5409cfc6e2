"""`pgregistry plugins`: which plugins are installed, which of them are on, and why not."""

from __future__ import annotations

from typing import Any

import click

from pgregistry.cli.options import command_line, plan_options
from pgregistry.errors import ConfigError, PgregistryError, Problems
from pgregistry.planning.plans.document import dumps
from pgregistry.planning.references import default_sizes
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import PluginStatus
from pgregistry.settings.tracing import tracing
from pgregistry.views.tables import table, terminal_width


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@plan_options("enable", "disable", "only", "plugins", "config")
def plugins_command(as_json: bool, trace: bool | None, **options: Any) -> None:
    """Show which plugins are installed, which are on, and why not."""
    problems, names = Problems(), Problems()
    with tracing(trace):
        registry = Registry.read(problems, command_line=command_line((), options, problems))
        registry.check_names(names)
        rows = [_row(registry, status) for status in registry.statuses]
    if as_json:
        click.echo(dumps(rows))
    else:
        _show(rows)
    for several in (problems, names):  # the list is complete whatever is wrong with the settings
        try:
            several.raise_any()
        except ConfigError as error:
            click.echo(str(error), err=True)


def _row(registry: Registry, status: PluginStatus) -> dict[str, Any]:
    plugin, name, modes, settings = status.installed.plugin, status.name, None, None
    reason = str(status.error) if status.error else status.reason
    if name == "active":
        try:
            modes, settings = registry.modes(plugin), registry.settings_of(plugin)
        except PgregistryError as error:
            name, reason = "failed", str(error)
    return {
        "name": plugin.name,
        "modes": None if modes is None else [mode.name for mode in modes],
        "sizes": None if modes is None else default_sizes(modes),
        "settings": None if settings is None else {one.name: one.default for one in settings},
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": name,
        "reason": reason,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    lines = []
    for row in rows:
        modes = "—" if row["modes"] is None else ", ".join(row["modes"])
        sizes = "—" if row["sizes"] is None else ", ".join(f"{name}={size}" for name, size in row["sizes"].items())
        reason = row["reason"].splitlines()[0] if row["reason"] else ""
        distribution = f"{row['distribution']} {row['version']}"
        lines.append([row["name"], modes, sizes, distribution, row["status"], reason])
    columns = ("plugin", "modes", "sizes", "distribution", "status", "reason")
    click.echo(table(columns, lines, width=terminal_width()))
