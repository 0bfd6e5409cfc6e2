"""Who may be slow, from the times of the groups alone, and which pairs would show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pgregistry_nettest.partitions import Group
from pgregistry_nettest.report import Host, Measurement
from pgregistry_nettest.usual import SUSPECT, cases, compare, members

Pair: TypeAlias = tuple[int, int]

#: With how many partners a suspect is tested, and how often a link.
PARTNERS: Final = 3


@dataclass(frozen=True, slots=True)
class Suspects:
    """What the partitions leave to be confirmed, each with the size that shows it best.

    Attributes:
        ranks: The ranks all of whose groups are slow, in some collective of some size.
        groups: Slow groups that no such rank explains, as hosts: a link in them may be slow.
    """

    ranks: Mapping[int, int]
    groups: Mapping[Group, int]

    def __bool__(self) -> bool:
        return bool(self.ranks or self.groups)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes to test, ascending."""
        return tuple(sorted({*self.ranks.values(), *self.groups.values()}))

    def hosts(self, hosts: Sequence[Host]) -> tuple[int, ...]:
        """The hosts that have a suspect rank."""
        return tuple(number for number, host in enumerate(hosts) if not self.ranks.keys().isdisjoint(host.ranks))

    def together(self, pair: Collection[int]) -> list[Group]:
        """The slow groups in which some hosts are together."""
        return [group for group in self.groups if set(pair) <= set(group)]


def suspects(
    measured: Sequence[Measurement], hosts: Sequence[Host], slow: int, deviations: float = SUSPECT
) -> Suspects:
    """Decode the partitions.

    A slow host makes each of its groups slow, so a rank in a group that is not slow is not slow
    itself. A slow group of ranks that are all in the clear has a slow link, or a slow host that
    noise hid elsewhere.
    """
    ranks: dict[int, tuple[float, int]] = {}
    groups: dict[Group, tuple[float, int]] = {}
    compared = compare(measured, hosts, slow, deviations)
    for (op, size), ones in cases(measured).items():
        here = [each for each in compared if (each.one.op, each.one.size) == (op, size)]
        bad = [each for each in here if each.slow]
        clear = {rank for each in here if not each.slow for rank in each.one.ranks}
        met = Counter(rank for one in ones for rank in one.ranks)
        for each in bad:
            shows = (each.excess, size)
            guilty = set(each.one.ranks) - clear
            for rank in guilty:
                ranks[rank] = max(ranks.get(rank, shows), shows)
            if all(met[rank] == 1 for rank in guilty):  # in one group alone, it may be the link
                group = members(each.one, hosts)
                groups[group] = max(groups.get(group, shows), shows)
    return Suspects(
        {rank: ranks[rank][1] for rank in sorted(ranks)}, {group: groups[group][1] for group in sorted(groups)}
    )


def schedule(found: Suspects, hosts: Sequence[Host], absent: frozenset[int]) -> list[list[Pair]]:
    """Pairs of hosts to test at the same time, step by step: all within one round.

    Each suspect meets good hosts, then the hosts of a group with a slow link meet one another. All
    of it happens several times, for one slow test may be noise. The rest meet among themselves, to
    show what is usual.

    Args:
        found: Who is suspect.
        hosts: All hosts.
        absent: Hosts that do not answer.
    """
    if not found:
        return []
    present = [host for host in range(len(hosts)) if host not in absent]
    circles = [list(_everyone_with_everyone([host for host in group if host not in absent])) for group in found.groups]
    steps = _with_good_ones(found, present, set(found.hosts(hosts)) - absent)
    for step in range(PARTNERS * max(map(len, circles), default=0)):
        pairs: list[Pair] = []
        for circle in circles:
            if step < PARTNERS * len(circle):
                pairs += [pair for pair in circle[step % len(circle)] if not _members(pairs) & set(pair)]
        steps.append(pairs)
    return [sorted(pairs + _neighbours(pairs, present, found.hosts(hosts))) for pairs in steps]


def _with_good_ones(found: Suspects, present: Sequence[int], suspect: set[int]) -> list[list[Pair]]:
    """Suspects, and hosts of slow groups, each with another partner in each step, from another group if it can be."""
    doubtful = {host for group in found.groups for host in group} & set(present)
    met: set[Pair] = set()
    steps = []
    for turn in range(PARTNERS):
        pairs: list[Pair] = []
        partners = sorted((*present[turn:], *present[:turn]), key=doubtful.__contains__)
        for host in (*sorted(suspect), *sorted(doubtful - suspect)):
            taken = _members(pairs)
            for partner in partners if host not in taken else ():
                pair = (min(host, partner), max(host, partner))
                good = partner != host and partner not in suspect and not found.together(pair)
                if good and partner not in taken and pair not in met:
                    pairs.append(pair)
                    met.add(pair)
                    break
        steps.append(pairs)
    return steps


def _neighbours(pairs: Sequence[Pair], present: Sequence[int], suspect: Collection[int]) -> list[Pair]:
    """Pairs of the hosts that have nothing else to do."""
    free = [host for host in present if host not in suspect and host not in _members(pairs)]
    return list(zip(free[::2], free[1::2], strict=False))


def _members(pairs: Sequence[Pair]) -> set[int]:
    return {host for pair in pairs for host in pair}


def _everyone_with_everyone(group: Sequence[int]) -> Iterator[list[Pair]]:
    """All pairs of a group, in as few steps as can be: the circle method."""
    circle: list[int | None] = [*group, *([None] if len(group) % 2 else [])]
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        step = zip(circle[:half], reversed(circle[half:]), strict=True)
        yield [(min(a, b), max(a, b)) for a, b in step if a is not None and b is not None]
        circle.insert(1, circle.pop())
