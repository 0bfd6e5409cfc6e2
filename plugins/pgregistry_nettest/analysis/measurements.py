"""Measurements: how long a collective takes in a group, and its bandwidth as nccl-tests computes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeAlias

from pgregistry_nettest.analysis.wording import format_size

#: All collectives that can be tested. Each has the name of a function of torch.distributed, or a similar one.
OPS: Final = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all", "send_recv")
#: Collectives whose size is that of all ranks together. Each rank gives, or gets, its share.
SHARED: Final = ("all_gather", "reduce_scatter", "all_to_all")
#: The elements that are sent are torch.float32.
DTYPE, WIDTH = "float", 4

#: A collective and its size in bytes.
Case: TypeAlias = tuple[str, int]


def bus_factor(op: str, members: int) -> float:
    """Return busbw / algbw: the bytes on the wire of each rank for one byte of the collective.

    >>> bus_factor("all_reduce", 4), bus_factor("all_gather", 4), bus_factor("broadcast", 4)
    (1.5, 0.75, 1.0)
    """
    share = (members - 1) / members
    return 2 * share if op == "all_reduce" else share if op in SHARED else 1.0


def count(op: str, size: int, members: int) -> int:
    """Return how many elements each rank gives to a collective of `size` bytes.

    >>> count("all_reduce", 1024, 4), count("all_gather", 1024, 4), count("all_gather", 1024, 3)
    (256, 64, 85)
    """
    return max(size // WIDTH // (members if op in SHARED else 1), 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """The times of one collective on one rank, in seconds, or the error with which it failed.

    Attributes:
        op: The collective.
        size: Its bytes.
        seconds: The median of all calls; None if it failed.
        spread: The median distance from that median.
        error: Why it failed.
    """

    op: str
    size: int
    seconds: float | None
    spread: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One collective of one size in one group. All ranks of the group have the same time.

    Attributes:
        round: Which partition, from 0. Tests of pairs are in the round after the last partition.
        op: The collective.
        size: The bytes that were asked for.
        count: The elements that each rank gives, as nccl-tests counts them.
        ranks: The group.
        seconds: The median of the slowest rank; None if the collective failed.
        spread: The median distance of the calls from their median, in seconds.
        error: Why it failed.
    """

    round: int
    op: str
    size: int
    count: int
    ranks: tuple[int, ...]
    seconds: float | None
    spread: float = 0.0
    error: str | None = None

    @property
    def bytes(self) -> int:
        """Return the bytes of the collective, as `count` makes them."""
        return self.count * WIDTH * (len(self.ranks) if self.op in SHARED else 1)

    @property
    def algbw(self) -> float:
        """Return the bytes a second that the caller sees; 0 if the collective failed."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def busbw(self) -> float:
        """Return the bytes a second on the wire of each rank, which compare between groups of any size."""
        return self.algbw * bus_factor(self.op, len(self.ranks))


def by_case(measured: Iterable[Measurement]) -> dict[Case, list[Measurement]]:
    """Return the measurements of each collective and size."""
    found: dict[Case, list[Measurement]] = {}
    for one in measured:
        found.setdefault((one.op, one.size), []).append(one)
    return found


def combine(samples: Mapping[int, Sequence[Sample]], groups: Iterable[Sequence[int]], number: int) -> list[Measurement]:
    """Return one measurement for each group, collective and size.

    A group is as slow as its slowest rank: in a broadcast only the receivers see how long it takes.
    A group with a rank that sent no samples is left out.

    Args:
        samples: The samples of each rank.
        groups: The groups of this round, as ranks.
        number: The number of this round.
    """
    measured = []
    for group in groups:
        if not all(rank in samples for rank in group):
            continue
        cases: dict[Case, list[Sample]] = {}
        for rank in group:
            for one in samples[rank]:
                cases.setdefault((one.op, one.size), []).append(one)
        for (op, size), ones in cases.items():
            error = next((one.error for one in ones if one.error), None)
            times = [one.seconds for one in ones if one.seconds is not None]
            if error is None and len(ones) < len(group):
                continue  # on some ranks another collective failed before this one
            seconds, spread = (None, 0.0) if error else (max(times), median(one.spread for one in ones))
            elements = count(op, size, len(group))
            measured.append(Measurement(number, op, size, elements, tuple(group), seconds, spread, error))
    return measured


def failed_everywhere(measured: Sequence[Measurement], backend: str) -> str | None:
    """Return an error text if a collective failed in every group, which is not a slow host; else None."""
    good = sorted({one.op for one in measured if not one.error})
    for op in dict.fromkeys(one.op for one in measured):
        ones = [one for one in measured if one.op == op]
        if all(one.error for one in ones):
            sizes = ", ".join(dict.fromkeys(format_size(one.size) for one in ones))
            worked = f" What works is {', '.join(good)}." if good else ""
            return f"{op} of {sizes} failed in every group on {backend}: {ones[0].error}.{worked}"
    return None
