"""The rounds of a test: orthogonal partitions of the hosts, then pairs of hosts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, combinations
from typing import Final, TypeAlias

from pgregistry import ConfigError
from pgregistry_nettest.analysis.report import Group, Host
from pgregistry_nettest.analysis.suspects import Suspects

#: All hosts, divided into groups of more than one host.
Partition: TypeAlias = tuple[Group, ...]
Pair: TypeAlias = tuple[int, int]

#: How many partners a suspect is tested with, and how many times a link is tested.
PARTNERS: Final = 3


def partitions(hosts: int, slow: int) -> tuple[Partition, ...]:
    """Return `slow` + 1 partitions, in which that many slow hosts can be told apart.

    Over all partitions two hosts are in one group at most once. The hosts are on a grid of lines and
    columns. A partition is all lines of one slope, or the columns. A slow host makes each of its
    groups slow. Another host shares at most one group with each slow host, so at least one of its
    groups is not slow.

        >>> for partition in partitions(9, 1):
        ...     print(partition)
        ((0, 1, 2), (3, 4, 5), (6, 7, 8))
        ((0, 3, 6), (1, 4, 7), (2, 5, 8))

    Two or three hosts are tested in all pairs, one pair in each partition.

    Args:
        hosts: How many hosts there are, at least 2.
        slow: How many of them may be slow.

    Raises:
        ConfigError: if there are too few hosts to tell that many slow ones apart.
    """
    found = _find(hosts, slow)
    if found is None:
        most = next(less for less in range(slow - 1, 0, -1) if _find(hosts, less))
        raise ConfigError(
            f"slow = {slow} must be at most {most} among {hosts} hosts: more slow hosts cannot be told apart. "
            f"Set slow = {most}, or test more hosts."
        )
    return found


def _find(hosts: int, slow: int) -> tuple[Partition, ...] | None:
    if hosts <= 3:
        return tuple((pair,) for pair in combinations(range(hosts), 2)) if slow == 1 else None
    side = math.isqrt(hosts)
    square = side * side == hosts
    if square and _orthogonal(side, side, slow - 1):
        columns = tuple(tuple(range(start, start + side)) for start in range(0, hosts, side))
        return (columns, *(_slope(hosts, side, slope) for slope in range(slow)))
    least = side if square else side + 1
    fitting = [
        lines for lines in range(least, max(hosts // 2, least) + 1) if _orthogonal(lines, -(-hosts // lines), slow)
    ]
    if not fitting:
        return None
    even = [lines for lines in fitting if hosts % lines == 0 and lines <= 2 * least]
    lines = (even or fitting)[0]
    return tuple(_slope(hosts, lines, slope) for slope in range(slow + 1))


def _orthogonal(lines: int, columns: int, slopes: int) -> bool:
    """Return True if two hosts never share a line in two of the slopes 0 … `slopes`."""
    return columns <= lines and all(rise * run % lines for rise in range(1, slopes + 1) for run in range(1, columns))


def _slope(hosts: int, lines: int, slope: int) -> Partition:
    """Return the lines of one slope: host `h` is in column `h // lines`, and `slope` lines higher in each column."""
    groups: list[list[int]] = [[] for _ in range(lines)]
    for host in range(hosts):
        column, line = divmod(host, lines)
        groups[(line + slope * column) % lines].append(host)
    return tuple(tuple(group) for group in groups if len(group) > 1)


def rank_groups(partition: Partition, hosts: Sequence[Host]) -> list[list[int]]:
    """Return the groups of ranks of a partition: the first ranks of a group's hosts, then the second ones, and so on.

    >>> rank_groups(((0, 2), (1, 3)), [Host("a", (0, 1)), Host("b", (2, 3)), Host("c", (4, 5)), Host("d", (6, 7))])
    [[0, 4], [1, 5], [2, 6], [3, 7]]
    """
    groups = []
    for group in partition:
        for local in range(max(len(hosts[host].ranks) for host in group)):
            ranks = sorted(hosts[host].ranks[local] for host in group if local < len(hosts[host].ranks))
            if len(ranks) > 1:
                groups.append(ranks)
    return groups


def pair_steps(found: Suspects, hosts: Sequence[Host], missing: Collection[int] = ()) -> list[list[Pair]]:
    """Return the pairs of hosts to test at the same time, step by step. All steps are one round.

    Each suspect meets good hosts, then the hosts of a group with a slow link meet each other. Each of
    these is tested several times, because one slow test may be noise. All other hosts meet among
    themselves, which shows what is usual.

    Args:
        found: The suspects.
        hosts: All hosts.
        missing: The hosts that do not answer.
    """
    if not found:
        return []
    present = [host for host in range(len(hosts)) if host not in missing]
    circles = [list(_all_pairs([host for host in group if host not in missing])) for group in found.groups]
    suspect = set(found.hosts(hosts))
    steps = _with_good_hosts(found, present, suspect.difference(missing))
    for step in range(PARTNERS * max(map(len, circles), default=0)):
        pairs: list[Pair] = []
        for circle in circles:
            if step < PARTNERS * len(circle):
                pairs += [pair for pair in circle[step % len(circle)] if _in(pairs).isdisjoint(pair)]
        steps.append(pairs)
    return [sorted(pairs + _other_pairs(pairs, present, suspect)) for pairs in steps]


def _with_good_hosts(found: Suspects, present: Sequence[int], suspect: Collection[int]) -> list[list[Pair]]:
    """Return steps in which each suspect, and each host of a slow group, meets another good partner.

    The partner is from another slow group if possible.
    """
    doubtful = set(chain.from_iterable(found.groups)).intersection(present)
    met: set[Pair] = set()
    steps = []
    for turn in range(PARTNERS):
        pairs: list[Pair] = []
        partners = sorted((*present[turn:], *present[:turn]), key=doubtful.__contains__)
        for host in (*sorted(suspect), *sorted(doubtful.difference(suspect))):
            taken = _in(pairs)
            for partner in partners if host not in taken else ():
                pair = (min(host, partner), max(host, partner))
                good = partner != host and partner not in suspect and not found.together(pair)
                if good and partner not in taken and pair not in met:
                    pairs.append(pair)
                    met.add(pair)
                    break
        steps.append(pairs)
    return steps


def _other_pairs(pairs: Sequence[Pair], present: Sequence[int], suspect: Collection[int]) -> list[Pair]:
    free = [host for host in present if host not in suspect and host not in _in(pairs)]
    return list(zip(free[::2], free[1::2], strict=False))


def _in(pairs: Iterable[Pair]) -> set[int]:
    return set(chain.from_iterable(pairs))


def _all_pairs(group: Sequence[int]) -> Iterator[list[Pair]]:
    """Yield all pairs of a group in as few steps as possible, by the circle method."""
    circle: list[int | None] = [*group, *([None] if len(group) % 2 else [])]
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        step = zip(circle[:half], reversed(circle[half:]), strict=True)
        yield [(min(a, b), max(a, b)) for a, b in step if a is not None and b is not None]
        circle.insert(1, circle.pop())
