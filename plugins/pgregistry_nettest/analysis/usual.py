"""The usual time of a collective: a median and a spread over the groups that must be healthy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from pgregistry_nettest.analysis.measurements import Case, Measurement, bus_factor, by_case
from pgregistry_nettest.analysis.report import Host, hosts_of

#: A group is slow if it takes this many times the usual time, …
RATIO: Final = 1.5
#: … this many standard deviations more than it (to be suspect, and to be sure), …
SUSPECT, SURE = 2.5, 4.0
#: … and this many seconds more. Operating systems delay any process by less.
FLOOR: Final = 100e-6
#: The standard deviation of normally distributed numbers whose median distance from the median is 1.
_NORMAL: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual time of one collective of one size.

    Attributes:
        members: The group size that `seconds` is for.
        seconds: The median.
        limit: A group that takes longer is slow.
    """

    members: int
    seconds: float
    limit: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A measurement and the usual time of its collective and size."""

    one: Measurement
    usual: Usual

    @property
    def slow(self) -> bool:
        """Return True if the group is slow, which it also is if the collective failed."""
        return _cost(self.one, self.usual.members) > self.usual.limit

    @property
    def factor(self) -> float:
        """Return how many times the usual time it took; infinity if it failed."""
        return _cost(self.one, self.usual.members) / max(self.usual.seconds, 1e-9)

    @property
    def excess(self) -> float:
        """Return how many seconds more than usual it took; infinity if it failed."""
        return _cost(self.one, self.usual.members) - self.usual.seconds


def compare(
    measured: Sequence[Measurement], hosts: Sequence[Host], slow: int, deviations: float = SURE
) -> list[Compared]:
    """Return each measurement with what is usual if at most `slow` hosts are slow."""
    cases = by_case(measured)
    usual = usual_times(measured, hosts, slow, deviations)
    return [Compared(one, usual[case]) for case in usual for one in cases[case]]


def usual_times(
    measured: Sequence[Measurement], hosts: Sequence[Host], slow: int, deviations: float = SURE
) -> dict[Case, Usual]:
    """Return the usual time of each collective and size if at most `slow` hosts are slow.

    A case in which every group failed has none.
    """
    found = {}
    for case, ones in by_case(measured).items():
        met = Counter(host for one in ones for host in hosts_of(one.ranks, hosts))
        if any(one.seconds is not None for one in ones):
            found[case] = _usual(ones, len(ones) - slow * max(met.values()), deviations)
    return found


def _usual(measured: Sequence[Measurement], healthy: int, deviations: float) -> Usual:
    """Return what is usual among measurements of one case, of which at least one succeeded.

    Slow hosts can be in most of the groups, so the median of all groups could be slow. It is taken
    over the fastest `healthy` groups: that many cannot contain a slow host.
    """
    finite = [one for one in measured if one.seconds is not None]
    members = min(len(one.ranks) for one in finite)
    kept = sorted(finite, key=lambda one: _cost(one, members))[: max(healthy, 1)]
    costs = [_cost(one, members) for one in kept]
    middle = median(costs)
    # A few groups can be equal by chance, so the spread within each of them counts too.
    spread = max(median(abs(one - middle) for one in costs), median(one.spread for one in kept))
    return Usual(members, middle, max(RATIO * middle, middle + deviations * _NORMAL * spread, middle + FLOOR))


def _cost(one: Measurement, members: int) -> float:
    """Return the time of a group as if it had `members` ranks; infinity if it failed.

    The time grows with the bytes that each rank sends, or with the steps that it takes. The larger
    growth is assumed, so that a large group is never slow because it is large.
    """
    if one.seconds is None:
        return math.inf
    mine = len(one.ranks)
    return one.seconds / max(bus_factor(one.op, mine) / bus_factor(one.op, members), (mine - 1) / (members - 1))
