"""`run`: the network test as a training script calls it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgregistry import ParallelContext
from pgregistry_nettest.report import Report
from pgregistry_nettest.session import Session
from pgregistry_nettest.settings import Settings


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
    """Test the network between the hosts of a context: which host or link is slow, if one is.

    All ranks of the context call it together, with the same arguments, before step 0 or between
    steps; it never runs by itself. It makes process groups of its own and destroys them.

        with pgregistry.init(tensor=2) as context:
            report = pgregistry_nettest.run(context)
            if report.named("slow host"):
                raise SystemExit(str(report.findings))

    Args:
        context: What `init` returned.
        sizes: Bytes of a collective; None for 1 MiB on CPUs and 64 MiB on an accelerator.
        ops: Collectives; the names are in `pgregistry_nettest.collectives.OPS`.
        slow: How many slow hosts are to be told apart: one more partition each.
        iterations: Timed calls, of which the median counts; at least 5. Below 1 MiB up to ten times
            as many.
        warmup: Calls before them.
        timeout: How long one collective may take, in seconds.
        ranks_per_host: So many consecutive ranks are a host; None where ranks say who their host
            is. Where there is but one host, each rank is tested as a host.
        baseline: An earlier report, or its file: shows whether all of the network is slow. That of
            the first rank counts.

    Returns:
        The same report on all ranks; ranks that stopped answering are in it.

    Raises:
        ConfigError: if the arguments cannot work.
        PlanMismatch: if ranks say different things, or one does not come.
        BuildError: if the store is gone, or a collective fails in every group.
    """
    some = None if sizes is None else tuple(sorted(set(sizes)))
    settings = Settings(some, tuple(ops), slow, iterations, warmup, timeout, ranks_per_host)

    def prepare() -> Report | None:
        return baseline if isinstance(baseline, Report) or baseline is None else Report.load(baseline)

    return Session(context, settings, prepare).run()
