"""Network test: a mode over runs of neighbouring ranks, and a command that names a slow host.

    import pgregistry
    import pgregistry_nettest

    with pgregistry.init(tensor=2) as context:
        report = pgregistry_nettest.run(context)  # before step 0, on every rank
        if not report.healthy:
            ...

The mode `nettest` gives a training script process groups of its own for such tests. The command
`pgregistry nettest` and `run` make theirs themselves, and need the mode not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pgregistry import WORLD, Mode, Split, hookimpl

if TYPE_CHECKING:
    import click

    from pgregistry_nettest.nettest import run
    from pgregistry_nettest.report import Report

__all__ = ["Report", "run"]


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, nettest=3: 0 1 2 | 3 4 5 | 6 7. Dedicated, so that a test disturbs no training."""
    yield Mode("nettest", over=Split(WORLD, inner="nettest", size=32, ragged=True), dedicated=True)


@hookimpl
def pgregistry_commands(cli: click.Group) -> None:
    """Add `pgregistry nettest`; what it runs is imported when it runs."""
    from pgregistry_nettest.command import nettest_command

    cli.add_command(nettest_command)


def __getattr__(name: str) -> Any:
    if name == "run":
        from pgregistry_nettest.nettest import run

        return run
    if name == "Report":
        from pgregistry_nettest.report import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
