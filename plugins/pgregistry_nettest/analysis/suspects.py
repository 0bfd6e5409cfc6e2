"""Suspects: the ranks and links that the times of the groups alone point to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pgregistry_nettest.analysis.measurements import Measurement, by_case
from pgregistry_nettest.analysis.report import Group, Host, hosts_of
from pgregistry_nettest.analysis.usual import SUSPECT, compare


@dataclass(frozen=True, slots=True)
class Suspects:
    """The suspects that pairs have to confirm, each with the size that shows it best.

    Attributes:
        ranks: The ranks all of whose groups are slow, for some collective of some size.
        groups: The slow groups that no such rank explains, as hosts: a link in them may be slow.
    """

    ranks: Mapping[int, int]
    groups: Mapping[Group, int]

    def __bool__(self) -> bool:
        return bool(self.ranks or self.groups)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the sizes to test, ascending."""
        return tuple(sorted({*self.ranks.values(), *self.groups.values()}))

    def hosts(self, hosts: Sequence[Host]) -> Group:
        """Return the hosts that have a suspect rank."""
        return hosts_of(self.ranks, hosts)

    def together(self, pair: Collection[int]) -> list[Group]:
        """Return the slow groups that contain all of these hosts."""
        return [group for group in self.groups if set(pair) <= set(group)]


def find_suspects(
    measured: Sequence[Measurement], hosts: Sequence[Host], slow: int, deviations: float = SUSPECT
) -> Suspects:
    """Decode the partitions.

    A slow host makes each of its groups slow, so a rank in a group that is not slow is not slow
    itself. A slow group in which no rank is a suspect has a slow link, or a slow host that noise hid
    in its other groups.
    """
    ranks: dict[int, tuple[float, int]] = {}
    groups: dict[Group, tuple[float, int]] = {}
    compared = compare(measured, hosts, slow, deviations)
    for (op, size), ones in by_case(measured).items():
        here = [each for each in compared if (each.one.op, each.one.size) == (op, size)]
        clear = {rank for each in here if not each.slow for rank in each.one.ranks}
        met = Counter(rank for one in ones for rank in one.ranks)
        for each in here:
            if not each.slow:
                continue
            shows = (each.excess, size)
            guilty = set(each.one.ranks) - clear
            for rank in guilty:
                ranks[rank] = max(ranks.get(rank, shows), shows)
            if all(met[rank] == 1 for rank in guilty):  # a rank in one group alone: it may be the link
                group = hosts_of(each.one.ranks, hosts)
                groups[group] = max(groups.get(group, shows), shows)
    return Suspects(
        {rank: ranks[rank][1] for rank in sorted(ranks)}, {group: groups[group][1] for group in sorted(groups)}
    )
