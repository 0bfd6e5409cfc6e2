"""`pgregistry plugins`: which plugins are installed, which of them are on, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from textwrap import TextWrapper
from typing import Any

import click

from pgregistry.cli.options import examples, plan_options
from pgregistry.cli.streams import printing_to_stderr
from pgregistry.errors import PgregistryError, Problems, clean
from pgregistry.planning.plans.document import dumps
from pgregistry.planning.references import default_sizes
from pgregistry.registry.advice import passed_over
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import PluginStatus
from pgregistry.settings.sources import from_command_line
from pgregistry.settings.tracing import tracing
from pgregistry.views.tables import table, terminal_width


@click.command("plugins", epilog=examples("pgregistry plugins", "pgregistry plugins --disable tensor --json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@plan_options("enable", "disable", "only", "plugins", "config")
def plugins_command(as_json: bool, trace: bool | None, **options: Any) -> None:
    """List the installed plugins, and why some are off."""
    problems, names = Problems(), Problems()
    with tracing(trace), printing_to_stderr():
        registry = Registry.read(problems, command_line=from_command_line((), options, problems))
        registry.check_names(names)
        rows = [_row(registry, status) for status in registry.statuses]
    if as_json:
        click.echo(dumps(rows))
    else:
        click.echo("\n".join(_lines(rows)))
    for several in (problems, names):  # the list is complete whatever is wrong with the settings
        try:
            several.raise_any()
        except PgregistryError as error:
            click.echo(str(error), err=True)
    for text in (registry.incomplete(), *(one.why for one in passed_over())):
        if text:
            click.echo(clean(text), err=True)


def _row(registry: Registry, status: PluginStatus) -> dict[str, Any]:
    installed, name, modes, settings = status.installed, status.name, None, None
    reason = str(status.error) if status.error else status.reason
    if name == "active":
        try:
            modes, settings = registry.modes(installed.plugin), registry.settings_of(installed.plugin)
        except PgregistryError as error:
            name, reason = "failed", str(error)
    return {
        "name": installed.plugin.name,
        "modes": None if modes is None else [mode.name for mode in modes],
        "sizes": None if modes is None else default_sizes(modes),
        "settings": None if settings is None else {one.name: one.default for one in settings},
        "distribution": installed.plugin.distribution,
        "version": installed.plugin.version,
        "path": installed.folder,
        "entry_point": installed.entry_point.value if installed.entry_point else None,
        "status": name,
        "reason": reason,
        "import_seconds": status.import_seconds,
        "imports_torch": status.imports_torch,
    }


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the plugins by distribution, each with the reason why it is off below it."""
    cells: list[tuple[str, ...] | str] = []
    width = terminal_width()

    def distribution(row: dict[str, Any]) -> str:
        return (
            f"{row['distribution']} {row['version']}, in {row['path']}"
            if row["distribution"]
            else "not installed, named by plugins="
        )

    for heading, of_it in groupby(sorted(rows, key=distribution), distribution):
        cells += ["", clean(heading)]
        for row in of_it:
            modes = "—" if row["modes"] is None else ", ".join(row["modes"])
            given = None if row["sizes"] is None else {**row["sizes"], **row["settings"]}
            sizes = "—" if given is None else ", ".join(f"{name}={value}" for name, value in given.items())
            shown = (row["name"], row["status"], _cost(row), modes, sizes, row["entry_point"] or "—")
            cells.append(tuple(map(clean, shown)))
            for line in (row["reason"] or "").splitlines():
                cells.append(_indented(line, width))
    yield table(("plugin", "status", "import", "modes", "sizes and settings", "entry point"), cells, width=width)


def _cost(row: dict[str, Any]) -> str:
    seconds = row["import_seconds"]
    if seconds is None:
        return "—"
    time = f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
    return f"{time} with torch" if row["imports_torch"] else time


def _indented(line: str, width: int) -> str:
    if not width:
        return f"    {line}"
    words = TextWrapper(width, "    ", "      ", break_long_words=False, break_on_hyphens=False)
    return words.fill(line)
