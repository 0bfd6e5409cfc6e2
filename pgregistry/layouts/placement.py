"""Groups of positions as groups of ranks, and how many of them lie inside one host, or one domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from math import gcd
from typing import NamedTuple

from pgregistry.layouts.factors import Factors
from pgregistry.layouts.groups import Groups, GroupSample, LayoutGroups, ListedGroups
from pgregistry.layouts.hosts import Hosts


class Reach(NamedTuple):
    """The reach of the groups of a mode.

    Attributes:
        host: How many lie inside one host.
        domain: How many others lie inside one domain; None if domains are not known.
        across: How many lie across domains, or across hosts if domains are not known.
    """

    host: int
    domain: int | None
    across: int


class PlacedGroups(Groups):
    """Groups of positions, shown as the ranks at these positions.

    They are listed only when their order is asked for, and only if ranks do not ascend with positions.

    >>> from pgregistry.layouts.layout import Layout
    >>> PlacedGroups(LayoutGroups(Layout(4, ((2, 1),))), (4, 5, 6, 7))
    <2 groups: (4, 5), (6, 7)>
    """

    def __init__(self, positions: Groups, ranks: Sequence[int]) -> None:
        self.positions = positions
        self.ranks = tuple(ranks)

    @cached_property
    def _position(self) -> dict[int, int]:
        return {rank: position for position, rank in enumerate(self.ranks)}

    @cached_property
    def _listed(self) -> ListedGroups | None:
        """Return the groups by their first rank; None if they are in that order by their positions too."""
        if all(low < high for low, high in pairwise(self.ranks)):
            return None
        return ListedGroups(map(self._placed, self.positions))

    def _placed(self, group: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.ranks[position] for position in group)

    def __len__(self) -> int:
        return len(self.positions)

    def _at(self, index: int) -> tuple[int, ...]:
        return self._placed(self.positions[index]) if self._listed is None else self._listed[index]

    def group_of(self, rank: int) -> tuple[int, ...] | None:
        group = self.positions.group_of(self._position[rank]) if rank in self._position else None
        return None if group is None else self._placed(group)

    def sample(self, rank: int, count: int) -> GroupSample | None:
        sample = self.positions.sample(self._position[rank], count) if rank in self._position else None
        return sample and sample._replace(first=self._placed(sample.first), last=self.ranks[sample.last])

    def index_of(self, rank: int) -> int | None:
        if self._listed is not None:
            return self._listed.index_of(rank)
        return self.positions.index_of(self._position[rank]) if rank in self._position else None

    def sizes(self) -> dict[int, int]:
        return self.positions.sizes()

    def key(self) -> object:
        if isinstance(self.positions, LayoutGroups) and self and self._listed is None:
            return [self.positions.layout.key(), self.ranks]
        return super().key()


def place(groups: Groups, ranks: Sequence[int] | None) -> Groups:
    """Return groups of positions as groups of these ranks; unchanged if `ranks` is None.

    >>> from pgregistry.layouts.layout import Layout
    >>> place(LayoutGroups(Layout(4, ((2, 1),))), (3, 2, 0, 1))
    <2 groups: (0, 1), (3, 2)>
    """
    return groups if ranks is None else PlacedGroups(groups, ranks)


def reach(groups: Groups, hosts: Hosts) -> Reach | None:
    """Return how many groups lie inside one host, inside one domain, and across; None if hosts are not known.

    Groups of a layout are counted in closed form, at once at any world size, unless a list puts unequal numbers of
    ranks on hosts.

    >>> from pgregistry.layouts.layout import Layout
    >>> tensor = LayoutGroups(Layout(1 << 20, ((8, 1),)))
    >>> reach(tensor, Hosts(1 << 20, ranks_per_host=8)), reach(tensor, Hosts(1 << 20, ranks_per_host=12))
    (Reach(host=131072, domain=None, across=0), Reach(host=87381, domain=None, across=43691))
    >>> reach(tensor, Hosts(1 << 20, ranks_per_host=4, hosts_per_domain=18))
    Reach(host=0, domain=131072, across=0)
    """
    if hosts.ranks is None:
        return None
    host = _inside(groups, hosts, 1)
    if hosts.hosts_per_domain is None:
        return Reach(host, None, len(groups) - host)
    domain = _inside(groups, hosts, hosts.hosts_per_domain)
    return Reach(host, domain - host, len(groups) - domain)


def _inside(groups: Groups, hosts: Hosts, together: int) -> int:
    """Return how many groups lie inside so many hosts together."""
    positions = groups.positions if isinstance(groups, PlacedGroups) else groups
    share = hosts.run(together, ragged=True) if isinstance(positions, LayoutGroups) else None
    if isinstance(positions, LayoutGroups) and share is not None:
        return sum(_uncut(digits, first, span, share) for digits, first, span in positions.spans())
    ranks = range(hosts.world_size) if hosts.within is None else hosts.within
    unit = dict(zip(ranks, hosts.units(together), strict=True))
    return sum(len({unit[rank] for rank in group}) == 1 for group in groups)


def _uncut(digits: Factors, first: int, span: int, share: int) -> int:
    """Return how many groups no boundary between runs of `share` positions cuts.

    Args:
        digits: The digits in which the groups differ.
        first: The lowest position of the first group.
        span: The distance from the lowest position of a group to its highest.
        share: How many positions each run has.
    """
    if span >= share:
        return 0
    *digits_but_one, (most, stride) = sorted(
        ((1, 1), *digits), key=lambda digit: min(digit[0], _period(digit[1], share))
    )
    starts = Counter({first % share: 1})
    for size, step in digits_but_one:
        period, sums = _period(step, share), Counter[int]()
        for value in range(min(size, period)):
            times = (size - value - 1) // period + 1
            for start, count in starts.items():
                sums[(start + value * step) % share] += count * times
        starts = sums
    # A group from position p is cut if p // share differs from (p + span) // share: by 1, since it is shorter.
    return sum(
        count * (most + floor_sum(most, stride, start, share) - floor_sum(most, stride, start + span, share))
        for start, count in starts.items()
    )


def _period(stride: int, share: int) -> int:
    """Return after how many steps of this stride positions are at the same place of a run of `share` again."""
    return share // gcd(stride, share)


def floor_sum(count: int, step: int, start: int, divisor: int) -> int:
    """Return the sum of (start + i * step) // divisor for i below `count`, as the Euclidean algorithm finds it.

    >>> floor_sum(5, 3, 1, 4), sum((1 + i * 3) // 4 for i in range(5))
    (7, 7)
    """
    total = 0
    while True:
        total += count * (count - 1) // 2 * (step // divisor) + count * (start // divisor)
        step, start = step % divisor, start % divisor
        end = count * step + start
        if end < divisor:
            return total
        count, start = divmod(end, divisor)
        divisor, step = step, divisor
