"""How a network test is made, and whom it finds to be a host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pgregistry import ConfigError
from pgregistry.errors import format_ranks, listing
from pgregistry.values import LONGEST
from pgregistry_nettest.collectives import WIDTH, check_ops, shown
from pgregistry_nettest.report import Host, Report

#: What is sent where nobody says how much: networks of accelerators show their bandwidth later.
SIZE_ON_CPU, SIZE_ON_ACCELERATOR = 1 << 20, 64 << 20
#: A median of fewer says little.
LEAST: Final = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """What all ranks of a test must say alike.

    Attributes:
        sizes: Bytes, ascending; None for 1 MiB on CPUs and 64 MiB on an accelerator.
        ops: Collectives.
        slow: How many slow hosts are to be told apart.
        iterations: Timed calls; below 1 MiB up to ten times as many.
        warmup: Calls before them.
        timeout: Of one collective, in seconds.
        ranks_per_host: So many consecutive ranks are a host; None where ranks say who their host is.
    """

    sizes: tuple[int, ...] | None = None
    ops: tuple[str, ...] = ("all_reduce",)
    slow: int = 1
    iterations: int = 10
    warmup: int = 2
    timeout: float = 10.0
    ranks_per_host: int | None = None

    def check(self) -> None:
        """Refuse what cannot be; ConfigError."""
        check_ops(self.ops)
        for name, least in (("slow", 1), ("iterations", LEAST), ("warmup", 0), ("ranks_per_host", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not whole and not (name == "ranks_per_host" and value is None):
                raise ConfigError(f"{name} = {value!r} is no whole number from {least}.")
        if not isinstance(self.timeout, int | float) or not 0.1 <= self.timeout <= LONGEST:
            raise ConfigError(f"timeout = {self.timeout!r} is no number of seconds from 0.1.")
        for size in self.sizes or (WIDTH,):
            if not isinstance(size, int) or size < WIDTH:
                raise ConfigError(f"size = {size!r} is no number of bytes from {WIDTH}.")

    def cases(self, device: str) -> list[tuple[str, int]]:
        """Each collective with each size, in the order in which they are measured."""
        sizes = self.sizes or (SIZE_ON_CPU if device == "cpu" else SIZE_ON_ACCELERATOR,)
        return [(op, size) for op in self.ops for size in sizes]


def difference(said: Mapping[int, Mapping[str, Any]]) -> str | None:
    """Which setting differs between ranks, and how; None where all are alike."""
    for name in next(iter(said.values())):
        sides: dict[str, list[int]] = {}
        for rank, settings in sorted(said.items()):
            sides.setdefault(repr(settings[name]), []).append(rank)
        if len(sides) > 1:
            lines = (f"    {format_ranks(ranks)}: {value}" for value, ranks in sides.items())
            return "\n".join((f"The ranks disagree about the network test; nothing was measured.\n  {name}:", *lines))
    return None


def where() -> str:
    """The host of this process, by its name and, under torchrun, the number of its agent."""
    return f"{socket.gethostname()} {os.environ.get('GROUP_RANK', '')}".strip()


def hosts_of(said: Mapping[int, str], ranks_per_host: int | None) -> tuple[Host, ...]:
    """The hosts, by their first ranks; where there is but one, each rank is tested as a host.

    >>> [host.ranks for host in hosts_of({0: "a 0", 1: "a 0", 2: "b 1"}, None)]
    [(0, 1), (2,)]
    >>> hosts_of({0: "a", 1: "a"}, None)
    (Host(name='a:0', ranks=(0,)), Host(name='a:1', ranks=(1,)))

    Args:
        said: For each rank what `where` says there.
        ranks_per_host: How many consecutive ranks are a host, whatever they say.

    Raises:
        ConfigError: if there is nothing to test.
    """
    ranks = sorted(said)
    if len(ranks) < 2:
        raise ConfigError("A network test needs at least 2 ranks, and there is 1.")
    if ranks_per_host is not None and ranks_per_host >= len(ranks):
        raise ConfigError(
            f"ranks_per_host = {ranks_per_host} makes 1 host of {len(ranks)} ranks, and there is no network in a host. "
            "Say ranks_per_host = 1 to test each rank as a host."
        )
    grouped: dict[str, list[int]] = {}
    for place, rank in enumerate(ranks):
        grouped.setdefault(said[rank] if ranks_per_host is None else f"{place // ranks_per_host}", []).append(rank)
    if len(grouped) == 1:
        grouped = {str(rank): [rank] for rank in ranks}
    names = [said[members[0]].split(" ")[0] for members in grouped.values()]
    return tuple(
        Host(name if names.count(name) == 1 else f"{name}:{members[0]}", tuple(members))
        for name, members in zip(names, grouped.values(), strict=True)
    )


def check_baseline(baseline: Report, cases: Sequence[tuple[str, int]], backend: str, device: str) -> None:
    """Refuse a baseline that measured something else; ConfigError."""
    if (baseline.backend, baseline.device) != (backend, device):
        raise ConfigError(
            f"The baseline is of {baseline.backend} on {baseline.device}, and this is {backend} on {device}."
        )
    there = {(one.op, one.size) for one in baseline.measurements if one.round < len(baseline.partitions)}
    if lacking := [case for case in cases if case not in there]:
        has, lacks = (listing(f"{op} of {shown(size)}" for op, size in some) for some in (sorted(there), lacking))
        raise ConfigError(f"The baseline has no {lacks}; it has {has}.")


@contextmanager
def no_settings_of_the_run() -> Iterator[None]:
    """Hide the settings of the training run, which name sizes and plugins that a test does not have."""
    hidden = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PGREGISTRY") and name != BUILD
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


#: How process groups are built is for the test what it is for the run.
BUILD: Final = "PGREGISTRY_BUILD"
