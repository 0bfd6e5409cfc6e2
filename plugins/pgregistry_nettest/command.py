"""The command `pgregistry nettest`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pgregistry import PgregistryError
from pgregistry.cli.options import say
from pgregistry.settings import launcher
from pgregistry_nettest import collectives
from pgregistry_nettest.settings import LEAST, Settings

if TYPE_CHECKING:
    from pgregistry_nettest.report import Report

T = TypeVar("T")

#: What local ranks import before they start.
PRELOAD: Final = ("pgregistry.runtime.initialize", "pgregistry_nettest.session", "pgregistry_nettest.command")
#: How long ranks that have nothing to print stay for the one that has, in seconds.
STAY: Final = 10.0


def _checked(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A click callback: what cannot be parsed is a bad command line."""

    def check(ctx: click.Context, parameter: click.Parameter, text: str | None) -> T | None:
        try:
            return None if text is None else parse(text)
        except PgregistryError as error:
            raise click.BadParameter(str(error), ctx, parameter) from error

    return check


@click.command("nettest")
@click.option("--nproc", type=click.IntRange(min=2), metavar="N", help="Start N local gloo processes.")
@click.option(
    "--size",
    "sizes",
    callback=_checked(collectives.parse_sizes),
    metavar="A..B",
    help="Bytes: 1M, 64K,1M or 1K..64M, which doubles. [default: 1M; 64M on an accelerator]",
)
@click.option(
    "--op",
    "ops",
    default="all_reduce",
    callback=_checked(collectives.parse_ops),
    metavar="A,B",
    help=f"Collectives: {', '.join(collectives.OPS)}. [default: all_reduce]",
)
@click.option(
    "--slow", type=click.IntRange(min=1), default=1, metavar="D", help="Slow hosts to tell apart: D + 1 partitions."
)
@click.option(
    "--iterations",
    type=click.IntRange(min=LEAST),
    default=10,
    metavar="N",
    help="Timed calls; below 1M up to ten times as many. [default: 10]",
)
@click.option("--warmup", type=click.IntRange(min=0), default=2, metavar="N", help="Calls before them. [default: 2]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=10.0,
    metavar="S",
    help="Seconds one collective may take. [default: 10]",
)
@click.option(
    "--ranks-per-host",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many consecutive ranks are a host. [default: as ranks say; each rank where there is one host]",
)
@click.option("--backend", help="The torch backend; gloo with --nproc.")
@click.option("--baseline", metavar="FILE", help="An earlier report of --json, to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.option("--plot", metavar="FILE", help="Draw hosts × partitions, and bandwidth over size (needs matplotlib).")
def nettest_command(nproc: int | None, backend: str | None, **options: Any) -> None:
    """Find out which host or link is slow, if one is.

    With --nproc it starts local processes, each of which stands for a host; under torchrun or
    another launcher it is one of them. Exit status: 0 healthy, 1 something is slow or missing.
    """
    if nproc is None:
        if launcher.read(os.environ) is None:
            raise click.UsageError("Say --nproc N, or start this with torchrun.")
        sys.exit(_work(backend, options))
    from pgregistry.testing import launch_ranks

    sys.exit(launch_ranks(nproc, worker, (backend or "gloo", options), preload=PRELOAD))


def worker(backend: str | None, options: dict[str, Any]) -> None:
    """One local rank of `nettest --nproc`."""
    try:
        status = _work(backend, options)
    except PgregistryError as error:
        status = say(error)
    if status:
        sys.exit(status)


def _work(backend: str | None, options: dict[str, Any]) -> int:
    """Test, on one rank; the first one that is there prints. The exit status."""
    import torch

    import pgregistry
    from pgregistry.coordination.store import LostError
    from pgregistry_nettest.session import Session
    from pgregistry_nettest.settings import no_settings_of_the_run

    torch.set_num_threads(1)
    _take_device(torch)
    names = ("sizes", "ops", "slow", "iterations", "warmup", "timeout", "ranks_per_host")
    settings = Settings(**{name: options[name] for name in names})
    with no_settings_of_the_run():
        context = pgregistry.init(only=(), extra=[pgregistry.Mode("world", over=pgregistry.WORLD)], backend=backend)
    with suppress(_GoneError), context:
        with _progress(context.rank) as progress:
            session = Session(context, settings, lambda: _prepare(options), progress)
            report = session.run()
        meeting = session.meeting
        if meeting.first:
            _show(report, options)
            meeting.board.set("shown", "")
        elif not report.healthy:
            with suppress(LostError):  # a launcher ends all ranks as soon as one of them ends with 1
                meeting.board.read(["shown"], STAY)
        if meeting.absent:
            raise _GoneError
    return 0 if report.healthy else 1


class _GoneError(Exception):
    """Leave the world without waiting for ranks that are gone."""


def _take_device(torch: Any) -> None:
    """Each rank of a host its own accelerator, where there are any."""
    launch = launcher.read(os.environ)
    if torch.accelerator.is_available() and launch and launch.local_rank is not None:
        torch.accelerator.set_device_index(launch.local_rank % torch.accelerator.device_count())


def _prepare(options: dict[str, Any]) -> Report | None:
    """Before anything is measured, on the rank that prints: what would fail at the end fails now."""
    from pgregistry_nettest.plot import check_plot
    from pgregistry_nettest.report import Report

    if options["plot"]:
        check_plot(options["plot"])
    return Report.load(options["baseline"]) if options["baseline"] else None


def _show(report: Report, options: dict[str, Any]) -> None:
    from pgregistry_nettest.plot import plot
    from pgregistry_nettest.table import show

    if options["plot"]:
        plot(report, options["plot"])
    if options["as_json"]:
        click.echo(report.to_json())
    else:
        show(report)
    sys.stdout.flush()


@contextmanager
def _progress(rank: int) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on rank 0, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    if rank != 0:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description:<32}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("waiting for ranks", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)
