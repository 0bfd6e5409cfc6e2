"""`pgregistry show`: a plan as a picture, in the terminal, as a page to explore, or for a paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from pgregistry.cli.options import OF_PLAN, PATH, examples, option, plan_options
from pgregistry.cli.plans.plan import plan_of
from pgregistry.cli.streams import in_colour, write_whole
from pgregistry.cli.words import ORIGIN, SizesCommand, number
from pgregistry.errors import ConfigError, clean
from pgregistry.planning.plans.drawing.map import html_page
from pgregistry.planning.plans.drawing.rows import picture, still_picture
from pgregistry.planning.plans.expectation import read_plan
from pgregistry.planning.plans.plan import Plan
from pgregistry.views.palette import PALETTE
from pgregistry.views.tables import terminal_width


@click.command(
    "show",
    cls=SizesCommand,
    epilog=examples(
        "pgregistry show 16 tensor=2 pipe=2",
        "pgregistry show 64 tensor=8 --ranks-per-host 8 --html plan.html",
        "pgregistry show --plan plan.json --svg plan.svg",
    ),
)
@click.argument("words", nargs=-1, metavar="[WORLD_SIZE] [NAME=SIZE]...")
@plan_options(*OF_PLAN)
@option("expect")
@click.option(
    "--plan", "document", type=PATH, metavar="FILE", help="Show the plan that `plan --json` wrote to this file."
)
@click.option("--rank", type=number, metavar="R", help="Show only the groups of this rank; in a page, choose it.")
@click.option("--mode", metavar="M", help="Show only this mode; in a page, show it first.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page to explore in a browser.")
@click.option("--svg", type=PATH, metavar="FILE", help="Write a still picture as SVG.")
def show_command(
    words: tuple[str, ...],
    document: str | None,
    rank: int | None,
    mode: str | None,
    html: str | None,
    svg: str | None,
    trace: bool | None,
    **options: Any,
) -> None:
    """Show a plan as a picture.

    Without --html and --svg it prints a row for each mode, in which the ranks of a group have the same letter. A
    terminal that is too narrow shows the ranks in blocks. The page of --html loads nothing and needs no network.
    """
    if html is not None and svg is not None and os.path.realpath(html) == os.path.realpath(svg):
        raise click.UsageError(f"--html and --svg must name two files, but both name {clean(svg)}.")
    if document is None:
        plan = plan_of(words, options, trace, mode, rank)
    else:
        plan = _read(document, words, options, mode, rank)
    files = {}
    if html is not None:
        files[html] = html_page(plan, mode, rank)
    if svg is not None:
        files[svg] = still_picture(plan, mode, rank)
    for path, text in files.items():
        write_whole(path, text)
        if (file := Path(path)).is_file():  # not a pipe or a device
            click.echo(f"{clean(path)}: open {file.resolve().as_uri()} in a browser", err=True)
    if not files:
        click.echo(picture(plan, mode, rank, _coloured if in_colour() else None, terminal_width()))


def _coloured(text: str, index: int) -> str:
    """Return a letter on the colour of its group."""
    red, green, blue = bytes.fromhex(PALETTE[index % len(PALETTE)][1:])
    return click.style(text, fg="black", bg=(red, green, blue))


def _read(document: str, words: tuple[str, ...], options: dict[str, Any], mode: str | None, rank: int | None) -> Plan:
    """Return the plan in a file, which must have the mode and the rank."""
    source = f"--plan {document or repr(document)}"
    given = [*words, *(f"--{name.replace('_', '-')}" for name, value in options.items() if value)]
    if given:
        raise click.UsageError(f"What shapes a plan comes with {source}. Remove {' '.join(given)}.")
    plan = read_plan(document, source)
    if mode is not None:
        _ = plan[mode]
    if rank is not None and not 0 <= rank < plan.world_size:
        raise ConfigError(f"rank: {rank} is out of range ({ORIGIN}): the ranks are 0 to {plan.world_size - 1}.")
    return plan
