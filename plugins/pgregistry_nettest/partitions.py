"""Orthogonal partitions of the hosts: two hosts are in one group at most once over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from pgregistry import ConfigError

#: Hosts, by number, that are tested together.
Group: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Partitions:
    """The hosts, divided several times over.

    Attributes:
        hosts: How many there are.
        groups: For each partition its groups, all of more than one host.
    """

    hosts: int
    groups: tuple[tuple[Group, ...], ...]

    def ranks(self, number: int, hosts: Sequence[Sequence[int]]) -> list[list[int]]:
        """The groups of one partition as ranks: the first ranks of the hosts together, the second ones, and so on.

        >>> partitions(4, 1).ranks(1, [[0, 1], [2, 3], [4, 5], [6, 7]])
        [[0, 4], [1, 5], [2, 6], [3, 7]]
        """
        lists = []
        for group in self.groups[number]:
            for place in range(max(len(hosts[host]) for host in group)):
                ranks = sorted(hosts[host][place] for host in group if place < len(hosts[host]))
                if len(ranks) > 1:
                    lists.append(ranks)
        return lists


def partitions(hosts: int, slow: int) -> Partitions:
    """`slow` + 1 partitions, in which up to so many slow hosts can be told apart.

    Hosts lie on a grid of `lines` × columns. A partition is all lines of one slope, or the columns.
    A host that is slow makes each of its groups slow. Another shares at most one of them with
    each slow host, so it is in at least one that is not.

        >>> for part in partitions(9, 1).groups:
        ...     print(part)
        ((0, 1, 2), (3, 4, 5), (6, 7, 8))
        ((0, 3, 6), (1, 4, 7), (2, 5, 8))

    Up to three hosts are tested in all pairs, one pair a partition.

    Args:
        hosts: How many there are, at least 2.
        slow: How many of them may be slow.

    Raises:
        ConfigError: if so many slow ones cannot be told apart among so few.
    """
    found = _find(hosts, slow)
    if found is None:
        most = next(less for less in range(slow - 1, 0, -1) if _find(hosts, less))
        raise ConfigError(
            f"slow = {slow} slow hosts cannot be told apart among {hosts}; at most {most} can. "
            f"Say slow = {most}, or test more hosts."
        )
    return found


def _find(hosts: int, slow: int) -> Partitions | None:
    if hosts <= 3:
        pairs = tuple((pair,) for pair in combinations(range(hosts), 2))
        return Partitions(hosts, pairs) if slow == 1 else None
    side = math.isqrt(hosts)
    square = side * side == hosts
    if square and _orthogonal(side, side, slow - 1):
        columns = tuple(tuple(range(start, start + side)) for start in range(0, hosts, side))
        return Partitions(hosts, (columns, *(_slope(hosts, side, slope) for slope in range(slow))))
    least = side if square else side + 1
    fitting = [
        lines for lines in range(least, max(hosts // 2, least) + 1) if _orthogonal(lines, -(-hosts // lines), slow)
    ]
    if not fitting:
        return None
    even = [lines for lines in fitting if hosts % lines == 0 and lines <= 2 * least]
    lines = (even or fitting)[0]
    return Partitions(hosts, tuple(_slope(hosts, lines, slope) for slope in range(slow + 1)))


def _orthogonal(lines: int, columns: int, slopes: int) -> bool:
    """Whether two hosts never share lines of two of the slopes 0 … `slopes`."""
    return columns <= lines and all(rise * run % lines for rise in range(1, slopes + 1) for run in range(1, columns))


def _slope(hosts: int, lines: int, slope: int) -> tuple[Group, ...]:
    """The groups along one slope: host `h` is in column `h // lines`, and one line further up in each column."""
    groups: list[list[int]] = [[] for _ in range(lines)]
    for host in range(hosts):
        column, place = divmod(host, lines)
        groups[(place + slope * column) % lines].append(host)
    return tuple(tuple(group) for group in groups if len(group) > 1)
