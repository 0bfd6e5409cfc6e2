"""What is usual among like measurements: a median and a spread, of those that must be healthy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from pgregistry_nettest.collectives import bus_factor
from pgregistry_nettest.report import Host, Measurement

#: Slow is what takes so many times as long as usual, …
RATIO: Final = 1.5
#: … is so many standard deviations away from it to be suspect, and so many to be sure, …
SUSPECT, SURE = 2.5, 4.0
#: … and takes so many seconds more: less is what operating systems do to any process.
FLOOR: Final = 100e-6
#: The standard deviation of normal numbers whose median distance from the median is 1.
_NORMAL: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Usual:
    """How long one collective of one size usually takes.

    Attributes:
        members: The size of the group that `seconds` is for.
        seconds: The median.
        limit: From where on it is slow.
    """

    members: int
    seconds: float
    limit: float


def cost(one: Measurement, members: int) -> float:
    """The time of a group as if it were one of `members`; infinity where it failed.

    The time grows with what each rank sends, or with the steps it takes, whichever grows more: so a
    large group is never slow for being large.
    """
    if one.seconds is None:
        return math.inf
    mine = len(one.ranks)
    return one.seconds / max(bus_factor(one.op, mine) / bus_factor(one.op, members), (mine - 1) / (members - 1))


def usual(measured: Sequence[Measurement], healthy: int, deviations: float) -> Usual | None:
    """What is usual among measurements of one collective and size; None where none succeeded.

    Slow hosts can be in most of the groups, so a median of all could be slow. It is taken over the
    fastest `healthy` ones, which is how many cannot contain a slow host.
    """
    finite = [one for one in measured if one.seconds is not None]
    if not finite:
        return None
    members = min(len(one.ranks) for one in finite)
    kept = sorted(finite, key=lambda one: cost(one, members))[: max(healthy, 1)]
    costs = [cost(one, members) for one in kept]
    middle = median(costs)
    # Few groups can be equal by chance, so the spread within them counts too.
    spread = max(median(abs(one - middle) for one in costs), median(one.spread for one in kept))
    return Usual(members, middle, max(RATIO * middle, middle + deviations * _NORMAL * spread, middle + FLOOR))


@dataclass(frozen=True, slots=True)
class Compared:
    """A measurement beside what is usual for its like."""

    one: Measurement
    usual: Usual

    @property
    def slow(self) -> bool:
        """Whether it is slow; one that failed is."""
        return cost(self.one, self.usual.members) > self.usual.limit

    @property
    def factor(self) -> float:
        """How many times as long as usual it took; infinity where it failed."""
        return cost(self.one, self.usual.members) / max(self.usual.seconds, 1e-9)

    @property
    def excess(self) -> float:
        """How many seconds longer than usual it took; infinity where it failed."""
        return cost(self.one, self.usual.members) - self.usual.seconds


def compare(
    measured: Sequence[Measurement], hosts: Sequence[Host], slow: int, deviations: float = SURE
) -> list[Compared]:
    """The groups of the partitions, each beside what is usual where at most `slow` hosts are slow."""
    compared = []
    for case, normal in of_groups(measured, hosts, slow, deviations).items():
        compared += [Compared(one, normal) for one in cases(measured)[case]]
    return compared


def of_groups(
    measured: Sequence[Measurement], hosts: Sequence[Host], slow: int, deviations: float = SURE
) -> dict[tuple[str, int], Usual]:
    """What is usual for each collective and size of the partitions, where at most `slow` hosts are slow."""
    found = {}
    for case, ones in cases(measured).items():
        met = Counter(host for one in ones for host in members(one, hosts))
        normal = usual(ones, len(ones) - slow * max(met.values()), deviations)
        if normal is not None:
            found[case] = normal
    return found


def cases(measured: Iterable[Measurement]) -> dict[tuple[str, int], list[Measurement]]:
    """Measurements by collective and size."""
    found: dict[tuple[str, int], list[Measurement]] = {}
    for one in measured:
        found.setdefault((one.op, one.size), []).append(one)
    return found


def members(one: Measurement, hosts: Sequence[Host]) -> tuple[int, ...]:
    """The numbers of the hosts of a group, ascending."""
    return tuple(number for number, host in enumerate(hosts) if not set(host.ranks).isdisjoint(one.ranks))
