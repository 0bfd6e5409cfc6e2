"""`pgregistry smoke`: build a plan in real processes and prove each group with a collective."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pgregistry.cli.options import examples, exit_status, plan_options
from pgregistry.cli.streams import printing_to_stderr
from pgregistry.cli.words import SizesCommand, split_world_size
from pgregistry.errors import PgregistryError, Problems, need
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans import view
from pgregistry.planning.plans.expectation import check_expected
from pgregistry.settings.launchers import launcher
from pgregistry.settings.merge import read_settings
from pgregistry.settings.options import TEXT_OPTIONS
from pgregistry.settings.sources import from_command_line
from pgregistry.settings.tracing import tracing
from pgregistry.views.tables import table, terminal_width

if TYPE_CHECKING:
    from pgregistry.runtime.contexts.context import ParallelContext


@click.command(
    "smoke",
    cls=SizesCommand,
    epilog=examples(
        "pgregistry smoke --nproc 8 tensor=2 pipe=2",
        "torchrun --nproc-per-node 8 -m pgregistry smoke tensor=2 pipe=2",
    ),
)
@click.argument("words", nargs=-1, metavar="[NAME=SIZE]...")
@plan_options(*TEXT_OPTIONS)
@click.option("--nproc", type=click.IntRange(min=1), metavar="N", help="Start N local gloo processes.")
def smoke_command(words: tuple[str, ...], nproc: int | None, trace: bool | None, **options: Any) -> None:
    """Build every group in processes and prove each with a collective.

    With --nproc it starts the processes itself. Under torchrun or another launcher it is one
    of them.
    """
    surplus, sizes = split_world_size(words)
    if surplus is not None:
        raise click.UsageError(f"smoke takes its world size from --nproc or the launcher, not from {surplus}.")
    problems = Problems()
    typed = from_command_line(sizes, options, problems)
    if nproc is None:
        if launcher.read(os.environ) is None:
            raise click.UsageError("Add --nproc N, or start this command with torchrun.")
        problems.raise_any()
        _build_and_prove(typed, trace)
        return
    if "backend" not in read_settings(Problems(), command_line=typed).run:
        typed["backend"] = "gloo"

    def try_plan() -> None:
        with printing_to_stderr():
            planner = Planner.read(nproc, {}, command_line=typed, problems=problems)
            check_expected(planner.plan(), planner.registry.settings.run.get("expect"))

    try:
        try_plan()  # fail before any process starts; if it does not, the first rank traces
    except PgregistryError:
        with tracing(trace):
            try_plan()
        raise
    from pgregistry.testing import launch_ranks

    preload = ("pgregistry.runtime.initialize", "pgregistry.cli.proof.smoke")
    sys.exit(launch_ranks(nproc, run_rank, (typed, trace), preload=preload))


def run_rank(typed: dict[str, Any], trace: bool | None) -> None:
    """Run one local rank of `smoke --nproc`."""
    if status := exit_status(partial(_build_and_prove, typed, trace)):
        sys.exit(status)


def _build_and_prove(typed: dict[str, Any], trace: bool | None) -> None:
    """Build and prove on one rank; print the table on rank 0."""
    need("smoke", "torch")
    import torch

    from pgregistry.runtime.arguments import Arguments
    from pgregistry.runtime.contexts.verification import verify_handle
    from pgregistry.runtime.initialize import initialize

    torch.set_num_threads(1)
    begun = time.perf_counter()
    rank = launch.rank if (launch := launcher.read(os.environ)) else 0
    with ExitStack() as opened:
        with printing_to_stderr():  # a plugin may print
            opened.enter_context(tracing(trace if rank == 0 else False))
            context = opened.enter_context(initialize(Arguments({}, command_line=typed)))
        seconds = dict.fromkeys(context.plan.modes, 0.0) | context.process_groups.seconds
        with _progress(context) as advance:
            for name in context.plan.modes:
                start = time.perf_counter()
                if handle := context.get(name):
                    verify_handle(handle, context.process_groups.companions.get(name), context.plan.fingerprint)
                seconds[name] += time.perf_counter() - start
                advance(name)
        if context.rank == 0:
            _show(context, seconds, time.perf_counter() - begun)


@contextmanager
def _progress(context: ParallelContext) -> Iterator[Any]:
    """Show a progress bar on stderr, on rank 0 alone."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if context.rank != 0:
        yield lambda name: None
        return
    columns = (TextColumn("proving {task.description:<12}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(context.plan.modes))
        yield lambda name: progress.update(task, description=name, advance=1)


def _show(context: ParallelContext, seconds: dict[str, float], total: float) -> None:
    from pgregistry.building.specs import default_group_spec, new_specs

    plan, defaults = context.plan, context.defaults
    new = new_specs(plan, defaults, default_group_spec(plan, defaults))
    process_groups = {name: len(specs) for name, specs in new.items()}
    numbers = ("process groups", "ms")
    rows = []
    for mode in plan.planned:
        made, milliseconds = str(process_groups[mode.name]), f"{1000 * seconds[mode.name]:.1f}"
        rows.append([mode.name, view.counts(mode), view.group(mode, 0), made, milliseconds])
    built, groups = sum(process_groups.values()), sum(len(mode.groups) for mode in plan.planned)
    result = f"{built} process groups built for {groups} groups in {total:.2f} s"
    columns = ("mode", "groups × ranks", "rank 0 is with", *numbers)
    click.echo(table(columns, rows, right=numbers, width=terminal_width()))
    click.echo(f"\n{plan.world_size} ranks: every group proved; {result}")
