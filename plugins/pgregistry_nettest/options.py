"""The options of a network test: their checks, their spelling on the command line, and the hosts under test."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgregistry import ConfigError
from pgregistry_nettest.analysis.measurements import OPS, WIDTH, Case
from pgregistry_nettest.analysis.report import Host, Report
from pgregistry_nettest.analysis.wording import UNITS, format_ranks, format_size

#: The default size. The network of an accelerator shows its bandwidth at larger sizes only.
SIZE_ON_CPU, SIZE_ON_ACCELERATOR = 1 << 20, 64 << 20
#: The median of fewer calls means little.
MIN_ITERATIONS: Final = 5
#: The longest timeout, in seconds: a year.
_YEAR: Final = 366 * 24 * 3600.0
_MOST_BYTES: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Options:
    """The options that all ranks of a test must share.

    Attributes:
        sizes: Bytes, ascending; None for 1 MiB on CPUs and 64 MiB on an accelerator.
        ops: The collectives.
        slow: How many slow hosts to tell apart.
        iterations: Timed calls; below 1 MiB up to ten times as many.
        warmup: Calls before the timed ones.
        timeout: The timeout of one collective, in seconds.
        ranks_per_host: How many consecutive ranks are a host; None to ask the ranks.
    """

    sizes: tuple[int, ...] | None = None
    ops: tuple[str, ...] = ("all_reduce",)
    slow: int = 1
    iterations: int = 10
    warmup: int = 2
    timeout: float = 10.0
    ranks_per_host: int | None = None

    def check(self) -> None:
        """Raise ConfigError if a value cannot work."""
        check_ops(self.ops)
        for name, least in (("slow", 1), ("iterations", MIN_ITERATIONS), ("warmup", 0), ("ranks_per_host", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not whole and not (name == "ranks_per_host" and value is None):
                raise ConfigError(f"{name} = {value!r} must be a whole number from {least}.")
        if not isinstance(self.timeout, int | float) or not 0.1 <= self.timeout <= _YEAR:
            raise ConfigError(f"timeout = {self.timeout!r} must be a number of seconds from 0.1.")
        for size in self.sizes or (WIDTH,):
            if not isinstance(size, int) or size < WIDTH:
                raise ConfigError(f"size = {size!r} must be a number of bytes from {WIDTH}.")

    def cases(self, device: str) -> list[Case]:
        """Return each collective with each size, in the order in which they are measured."""
        sizes = self.sizes or (SIZE_ON_CPU if device == "cpu" else SIZE_ON_ACCELERATOR,)
        return [(op, size) for op in self.ops for size in sizes]

    def calls(self, size: int) -> int:
        """Return how many calls to time: short calls are easily disturbed, so below 1 MiB there are more.

        >>> Options().calls(64 << 20), Options().calls(1 << 19), Options().calls(1024)
        (10, 20, 100)
        """
        return self.iterations * max(min((1 << 20) // size, 10), 1)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes that a user typed: one, several with commas, or a range that doubles.

    >>> parse_sizes("1K..8K"), parse_sizes("4,1M")
    ((1024, 2048, 4096, 8192), (4, 1048576))

    Raises:
        ConfigError: if it is none of these.
    """
    first, dots, last = text.partition("..")
    if not dots:
        return tuple(sorted({_bytes(part) for part in text.split(",")}))
    low, high = _bytes(first), _bytes(last)
    if low > high:
        raise ConfigError(f"size = {text!r} must go from less to more: write {last}..{first}.")
    return tuple(low << step for step in range((high // low).bit_length()))


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,18})([KMG]?)B?", text.strip().upper(), re.ASCII)
    number = int(match[1]) * UNITS[match[2]] if match else 0
    if not WIDTH <= number <= _MOST_BYTES:
        raise ConfigError(f"size = {text!r} must be a number of bytes from {WIDTH} to 1024G, as in 64K, 1M or 1K..64M.")
    return number


def parse_ops(text: str) -> tuple[str, ...]:
    """Return the collectives that a user typed with commas, each once; ConfigError if one is unknown."""
    return check_ops(tuple(dict.fromkeys(part.strip() for part in text.split(","))))


def check_ops(ops: Sequence[str]) -> tuple[str, ...]:
    """Return the collectives if there are some and all are known; else raise ConfigError."""
    for op in ops or ("",):
        if op not in OPS:
            raise ConfigError(f"op = {op!r} must be one of {', '.join(OPS)}.")
    return tuple(ops)


def disagreement(options: Mapping[int, Mapping[str, Any]]) -> str | None:
    """Return which option differs between ranks, and how; None if all options are equal."""
    for name in next(iter(options.values())):
        sides: dict[str, list[int]] = {}
        for rank, values in sorted(options.items()):
            sides.setdefault(repr(values[name]), []).append(rank)
        if len(sides) > 1:
            lines = (f"    {format_ranks(ranks)}: {value}" for value, ranks in sides.items())
            return "\n".join((f"The ranks disagree about the network test; nothing was measured.\n  {name}:", *lines))
    return None


def host_name() -> str:
    """Return the name of this process's host and, under torchrun, the number of its agent."""
    return f"{socket.gethostname()} {os.environ.get('GROUP_RANK', '')}".strip()


def find_hosts(names: Mapping[int, str], ranks_per_host: int | None) -> tuple[Host, ...]:
    """Return the hosts, by their first ranks. If there is only one, each rank is tested as a host.

    >>> [host.ranks for host in find_hosts({0: "a 0", 1: "a 0", 2: "b 1"}, None)]
    [(0, 1), (2,)]
    >>> find_hosts({0: "a", 1: "a"}, None)
    (Host(name='a:0', ranks=(0,)), Host(name='a:1', ranks=(1,)))

    Args:
        names: For each rank what `host_name` returns there.
        ranks_per_host: How many consecutive ranks are a host, whatever their names.

    Raises:
        ConfigError: if there is nothing to test.
    """
    ranks = sorted(names)
    if len(ranks) < 2:
        raise ConfigError("A network test needs at least 2 ranks, but there is 1.")
    if ranks_per_host is not None and ranks_per_host >= len(ranks):
        raise ConfigError(
            f"ranks_per_host = {ranks_per_host} must be less than the {len(ranks)} ranks: "
            "with all of them on one host there is no network to test. "
            "Set ranks_per_host = 1 to test each rank as a host."
        )
    grouped: dict[str, list[int]] = {}
    for position, rank in enumerate(ranks):
        key = names[rank] if ranks_per_host is None else str(position // ranks_per_host)
        grouped.setdefault(key, []).append(rank)
    if len(grouped) == 1:
        grouped = {str(rank): [rank] for rank in ranks}
    called = [names[members[0]].split(" ")[0] for members in grouped.values()]
    return tuple(
        Host(name if called.count(name) == 1 else f"{name}:{members[0]}", tuple(members))
        for name, members in zip(called, grouped.values(), strict=True)
    )


def check_baseline(baseline: Report, cases: Sequence[Case], backend: str, device: str) -> None:
    """Raise ConfigError if the baseline measured something else."""
    if (baseline.backend, baseline.device) != (backend, device):
        raise ConfigError(
            f"The baseline must be of {backend} on {device}, but is of {baseline.backend} on {baseline.device}."
        )
    measured = {(one.op, one.size) for one in baseline.of_groups}
    if lacking := [case for case in cases if case not in measured]:
        has, lacks = (
            ", ".join(f"{op} of {format_size(size)}" for op, size in some) for some in (sorted(measured), lacking)
        )
        raise ConfigError(f"The baseline has no {lacks}; it has {has}.")
