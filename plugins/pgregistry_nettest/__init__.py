"""Network test: a mode over runs of neighbouring ranks, and a command that names a slow host.

    import pgregistry
    import pgregistry_nettest

    with pgregistry.init(tensor=2) as context:
        report = pgregistry_nettest.run(context)  # before step 0, on every rank
        if not report.healthy:
            ...

The mode `nettest` gives a training script process groups of its own for such tests. The command
`pgregistry nettest` and `run` build theirs themselves and do not need the mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pgregistry import WORLD, Mode, Split, hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from pgregistry import ParallelContext
    from pgregistry_nettest.analysis.report import Report

__all__ = ["Report", "run"]


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, nettest=3: 0 1 2 | 3 4 5 | 6 7. Dedicated, so that a test does not disturb training."""
    yield Mode("nettest", over=Split(WORLD, inner="nettest", size=32, ragged=True), dedicated=True)


@hookimpl
def pgregistry_commands(cli: click.Group) -> None:
    """Add `pgregistry nettest`. What it needs is imported when it runs."""
    from pgregistry_nettest.command import nettest_command

    cli.add_command(nettest_command)


def run(
    context: ParallelContext,
    *,
    sizes: Sequence[int] | None = None,
    ops: Sequence[str] = ("all_reduce",),
    slow: int = 1,
    iterations: int = 10,
    warmup: int = 2,
    timeout: float = 10.0,
    ranks_per_host: int | None = None,
    baseline: Report | str | Path | None = None,
) -> Report:
    """Test the network between the hosts of a context, and return which host or link is slow, if one is.

    All ranks of the context call it together, with the same arguments, before step 0 or between
    steps. It builds process groups of its own and destroys them.

        with pgregistry.init(tensor=2) as context:  # 9 hosts of 8 ranks
            report = pgregistry_nettest.run(context)
            if report.named("slow host"):  # (4,) if ranks 32 to 39 are slow
                raise SystemExit(str(report.findings))

    Args:
        context: What `init` returned.
        sizes: Bytes of a collective; None for 1 MiB on CPUs and 64 MiB on an accelerator.
        ops: Collectives: all_reduce, all_gather, reduce_scatter, broadcast, all_to_all, send_recv.
        slow: How many slow hosts to tell apart: one more partition for each.
        iterations: Timed calls, of which the median counts; at least 5. Below 1 MiB there are up to
            ten times as many.
        warmup: Calls before the timed ones.
        timeout: How long one collective may take, in seconds.
        ranks_per_host: How many consecutive ranks are a host; None to ask the ranks. If there is only
            one host, each rank is tested as a host.
        baseline: An earlier report, or its file. It shows whether the whole network is slow. The
            first rank's counts.

    Returns:
        The same report on all ranks. Ranks that stopped answering are in it.

    Raises:
        ConfigError: if the arguments cannot work.
        PlanMismatch: if ranks have different arguments, or one does not come.
        BuildError: if the store is lost, or a collective fails in every group.
    """
    from pgregistry_nettest.analysis.report import Report
    from pgregistry_nettest.options import Options
    from pgregistry_nettest.session import Session

    ascending = None if sizes is None else tuple(sorted(set(sizes)))
    options = Options(ascending, tuple(ops), slow, iterations, warmup, timeout, ranks_per_host)

    def prepare() -> Report | None:
        return baseline if isinstance(baseline, Report) or baseline is None else Report.load(baseline)

    return Session(context, options, prepare).run()


def __getattr__(name: str) -> Any:
    if name == "Report":
        from pgregistry_nettest.analysis.report import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
