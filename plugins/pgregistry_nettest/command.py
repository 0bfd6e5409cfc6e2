"""The command `pgregistry nettest`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pgregistry import WORLD, BuildError, Mode, PgregistryError
from pgregistry_nettest.analysis.measurements import OPS
from pgregistry_nettest.options import MIN_ITERATIONS, Options, parse_ops, parse_sizes

if TYPE_CHECKING:
    from pgregistry_nettest.analysis.report import Report

T = TypeVar("T")
log = logging.getLogger("pgregistry.nettest")

#: The variables in which launchers give the rank.
LAUNCHERS: Final = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
#: The modules that local ranks import before they start.
PRELOAD: Final = ("pgregistry_nettest.session", "pgregistry_nettest.command")
#: A path that the shell completes.
PATH: Final = click.Path(readable=False)
#: How long ranks that have nothing to print wait for the one that has, in seconds.
STAY: Final = 10.0


def _parsed(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """Return a click callback that reports text which cannot be parsed as a bad command line."""

    def callback(ctx: click.Context, parameter: click.Parameter, text: str | None) -> T | None:
        try:
            return None if text is None else parse(text)
        except PgregistryError as error:
            raise click.BadParameter(str(error), ctx, parameter) from error

    return callback


def _from(least: int, metavar: str = "N") -> Any:
    return {"type": click.IntRange(min=least), "metavar": metavar, "show_default": True}


SECONDS: Final[Any] = {"type": click.FloatRange(min=0.1), "metavar": "S", "show_default": True}
OPS_HELP: Final = f"Collectives to time: {', '.join(OPS)}."
SIZE_HELP: Final = "Message sizes in bytes: 1M, or 64K,1M, or 1K..64M by doubling. [default: 1M; 64M on an accelerator]"
ITERATIONS_HELP: Final = "Timed calls of each size; up to ten times as many below 1M."
RANKS_PER_HOST_HELP: Final = "Number of consecutive ranks on each host. [default: ask the ranks]"


#: click folds no line after a \b.
EXAMPLES: Final = """\b
Examples:
  pgregistry nettest --nproc 4
  torchrun --nproc-per-node 8 -m pgregistry nettest --size 1M..64M --json"""


@click.command("nettest", epilog=EXAMPLES)
@click.option("--nproc", **_from(2), help="Start N local gloo processes.")
@click.option("--size", "sizes", callback=_parsed(parse_sizes), metavar="A..B", help=SIZE_HELP)
@click.option(
    "--op", "ops", callback=_parsed(parse_ops), metavar="A,B", default="all_reduce", show_default=True, help=OPS_HELP
)
@click.option("--slow", **_from(1, "D"), default=1, help="Number of slow hosts to tell apart, with D + 1 partitions.")
@click.option("--iterations", **_from(MIN_ITERATIONS), default=10, help=ITERATIONS_HELP)
@click.option("--warmup", **_from(0), default=2, help="Calls of each size before the timed ones.")
@click.option("--timeout", **SECONDS, default=10.0, help="Timeout of one collective, in seconds.")
@click.option("--ranks-per-host", **_from(1), help=RANKS_PER_HOST_HELP)
@click.option("--backend", metavar="B", help="Torch backend; gloo with --nproc.")
@click.option("--baseline", type=PATH, metavar="FILE", help="Compare with this earlier report of --json.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.option(
    "--plot", type=PATH, metavar="FILE", help="Plot hosts × partitions, and bandwidth by size (needs matplotlib)."
)
def nettest_command(nproc: int | None, backend: str | None, **options: Any) -> None:
    """Find the host or link that is slow, if there is one.

    With --nproc it starts local processes, each of which stands for a host. Under torchrun or
    another launcher it is one of them. Exit status: 0 healthy, 1 something is slow or missing.
    """
    from pgregistry.testing import launch_ranks

    if nproc is None:
        if not any(os.environ.get(name) for name in LAUNCHERS):
            raise click.UsageError("Add --nproc N, or start this command with torchrun.")
        sys.exit(_test(backend, options))
    sys.exit(launch_ranks(nproc, worker, (backend or "gloo", options), preload=PRELOAD))


def worker(backend: str | None, options: dict[str, Any]) -> None:
    """Run one local rank of `nettest --nproc`, and end it with the exit status."""
    if status := _test(backend, options):
        sys.exit(status)


def _test(backend: str | None, options: dict[str, Any]) -> int:
    """Test on one rank, print on the first rank that is present, and return the exit status."""
    import torch

    from pgregistry import init
    from pgregistry_nettest.session import Session, without_settings

    torch.set_num_threads(1)
    chosen = Options(**{field.name: options[field.name] for field in fields(Options)})
    with without_settings():
        context = init(only=(), extra=[Mode("world", over=WORLD)], backend=backend)
    with suppress(_MissingError), context:
        with _progress(context.rank) as progress:
            session = Session(context, chosen, lambda: _prepare(options), progress)
            report = session.run()
        decisions = session.decisions
        if decisions.is_first:
            _print(report, options)
            decisions.write("printed", "")
        elif not report.healthy:
            try:  # a launcher ends all ranks as soon as one of them ends with 1
                decisions.read("printed", STAY)
            except BuildError as error:
                log.debug("%s", error)
        if decisions.missing:
            raise _MissingError
    return 0 if report.healthy else 1


class _MissingError(Exception):
    """Leave the world without waiting for ranks that are missing."""


def _prepare(options: dict[str, Any]) -> Report | None:
    """Return the baseline; raise now, on the rank that prints, what would fail at the end."""
    from pgregistry_nettest.analysis.report import Report
    from pgregistry_nettest.views import check_plot

    if options["plot"]:
        check_plot(options["plot"])
    return Report.load(options["baseline"]) if options["baseline"] else None


def _print(report: Report, options: dict[str, Any]) -> None:
    from pgregistry_nettest.views import print_table, save_plot

    if options["plot"]:
        save_plot(report, options["plot"])
    if options["as_json"]:
        print(report.to_json())
    else:
        print_table(report)
    sys.stdout.flush()


@contextmanager
def _progress(rank: int) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar on rank 0, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    if rank != 0:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description:<32}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("waiting for ranks", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)
