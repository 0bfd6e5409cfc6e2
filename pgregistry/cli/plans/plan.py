"""`pgregistry plan`: the groups of every mode, without starting anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from pgregistry.building.specs import Defaults
from pgregistry.cli.options import OF_PLAN, examples, option, plan_options
from pgregistry.cli.plans.costs import costs
from pgregistry.cli.streams import printing_to_stderr
from pgregistry.cli.words import ORIGIN, SizesCommand, number, split_world_size
from pgregistry.errors import ConfigError, Problems, did_you_mean
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans import document
from pgregistry.planning.plans.expectation import check_expected
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.planning.plans.view import PlanView
from pgregistry.settings.launchers import launcher
from pgregistry.settings.named import perhaps_off
from pgregistry.settings.sources import from_command_line
from pgregistry.settings.tracing import tracing
from pgregistry.views.tables import terminal_width

#: At most this many ranks are listed.
LISTED: Final = 1 << 20


@click.command(
    "plan",
    cls=SizesCommand,
    epilog=examples(
        "pgregistry plan 16 tensor=2 pipe=2",
        "pgregistry plan 16 tensor=2 --rank 5 --costs",
        "pgregistry plan 4096 tensor=8 --ranks-per-host 8 --json > plan.json",
    ),
)
@click.argument("words", nargs=-1, metavar="[WORLD_SIZE] [NAME=SIZE]...")
@plan_options(*OF_PLAN)
@option("expect")
@click.option("--rank", type=number, metavar="R", help="Show the groups of this rank.")
@click.option("--mode", metavar="M", help="Show only this mode, with all its groups.")
@click.option("--costs", "with_costs", is_flag=True, help="Show what `init` costs one rank.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plan_command(
    words: tuple[str, ...],
    rank: int | None,
    mode: str | None,
    with_costs: bool,
    as_json: bool,
    trace: bool | None,
    **options: Any,
) -> None:
    """Show the groups of each mode, for any world size.

    For each mode it shows how many groups there are, and the one that rank 0 is in. --rank R shows those of another
    rank, and --mode M lists every group of one mode. Nothing is started.
    """
    plan, defaults = read_plan_and_run(words, options, trace, mode, rank)
    shown = list(plan.planned) if mode is None else [plan[mode]]
    _check_length(shown, mode, rank, as_json=as_json)
    first = rank if rank is not None else 0 if plan.ranks is None else min(plan.ranks)
    found = costs(plan, first, defaults) if with_costs else None
    if as_json:
        written = document.of_plan(plan, mode=mode, rank=rank, groups="small" if mode is None else "all")
        if found:
            written = {**written, "costs": asdict(found)}
            written.pop("checksum", None)  # it is not a plan to read again
        click.echo(document.dumps(written))
    else:
        click.echo("\n".join(map(str, filter(None, (PlanView(plan, mode, rank, width=terminal_width()), found)))))


def plan_of(
    words: Sequence[str],
    options: Mapping[str, Any],
    trace: bool | None,
    mode: str | None = None,
    rank: int | None = None,
) -> Plan:
    """Return the plan of the words and options of a command line, which must have the mode and the rank."""
    return read_plan_and_run(words, options, trace, mode, rank)[0]


def read_plan_and_run(
    words: Sequence[str], options: Mapping[str, Any], trace: bool | None, mode: str | None, rank: int | None
) -> tuple[Plan, Defaults]:
    """Return the plan, and the settings of a run for modes that have none; without a backend it is gloo."""
    with tracing(trace), printing_to_stderr():
        planner = planner_of(words, options)
        _check_wanted(planner, mode, rank)
        plan = planner.plan()
    run = planner.registry.settings.run
    if "expect" in options:  # the command takes it, so environment and file count too
        check_expected(plan, run.get("expect"))
    given = {name: run[name].value for name in ("timeout", "cpu") if name in run}
    return plan, Defaults(run["backend"].value if "backend" in run else "gloo", **given)


def planner_of(words: Sequence[str], options: Mapping[str, Any]) -> Planner:
    """Return the planner of the words and options of a command line."""
    world_size, sizes = split_world_size(words)
    problems = Problems()
    typed = from_command_line(sizes, options, problems)
    if world_size is None:
        world_size = launcher.world_size(os.environ)
    if world_size is None:
        way_out = f"Type the number of ranks first: {' '.join(('16', *words))}"
        raise click.UsageError(f"WORLD_SIZE is missing, and the environment does not set it. {way_out}")
    return Planner.read(world_size, {}, command_line=typed, problems=problems)


def _check_length(shown: Sequence[PlannedMode], mode: str | None, rank: int | None, *, as_json: bool) -> None:
    """Raise ConfigError if too many ranks would be listed."""
    if rank is not None:
        for one in shown if as_json else ():
            if (sample := one.groups.sample(rank, 0)) and sample.size > LISTED:
                what = f"its group in mode {one.name!r} has {sample.size} ranks, and JSON lists at most {LISTED}"
                way_out = "Name a mode of smaller groups with --mode, or leave out --json or --rank."
                raise ConfigError(f"rank = {rank} ({ORIGIN}): {what}. {way_out}")
    elif mode is not None:
        groups = shown[0].groups
        ranks = sum(size * number for size, number in groups.sizes().items())
        if ranks > LISTED:
            what = f"its {len(groups)} groups have {ranks} ranks, and at most {LISTED} are listed"
            raise ConfigError(f"mode = {mode!r} ({ORIGIN}): {what}. Name a rank with --rank, or leave out --mode.")


def _check_wanted(planner: Planner, mode: str | None, rank: int | None) -> None:
    """Add to the problems of the plan a mode and a rank that it does not have."""
    modes = [one.mode.name for one in planner.declarations.modes]
    if mode is not None and mode not in modes:
        off = planner.registry.off
        others = f"{did_you_mean(mode, modes)}{perhaps_off(mode, modes, off)}{planner.registry.missing(mode)}"
        hint = f": plugin {mode!r} is {off[mode]}." if mode in off else f". {others}"
        planner.problems.add(ConfigError(f"mode: there is no mode {mode!r} ({ORIGIN}){hint}"))
    if rank is not None and not 0 <= rank < planner.world_size:
        ranks = f"the ranks are 0 to {planner.world_size - 1}"
        planner.problems.add(ConfigError(f"rank: {rank} is out of range ({ORIGIN}): {ranks}."))
