"""Who may be slow, from the times of the groups alone, and which pairs would show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pgregistry_nettest.report import Host, Measurement
from pgregistry_nettest.usual import cases, compare, members

Pair: TypeAlias = tuple[int, int]

#: With how many partners a suspect is tested.
PARTNERS: Final = 3


@dataclass(frozen=True, slots=True)
class Suspects:
    """What the partitions leave to be confirmed.

    Attributes:
        ranks: The ranks all of whose groups are slow, in some collective of some size.
        groups: Slow groups that no such rank explains, as hosts: a link in them may be slow.
        sizes: The smallest and the largest size at which something is slow.
    """

    ranks: frozenset[int]
    groups: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.ranks or self.groups)

    def hosts(self, hosts: Sequence[Host]) -> tuple[int, ...]:
        """The hosts that have a suspect rank."""
        return tuple(number for number, host in enumerate(hosts) if not self.ranks.isdisjoint(host.ranks))


def suspects(measured: Sequence[Measurement], hosts: Sequence[Host], slow: int) -> Suspects:
    """Decode the partitions.

    A slow host makes each of its groups slow, so a rank in a group that is not slow is not slow
    itself. A slow group of ranks that are all in the clear has a slow link, or a slow host that
    noise hid elsewhere.
    """
    ranks: set[int] = set()
    groups: set[tuple[int, ...]] = set()
    sizes: set[int] = set()
    compared = compare(measured, hosts, slow)
    for case, ones in cases(measured).items():
        bad = [each.one for each in compared if each.slow and (each.one.op, each.one.size) == case]
        clear = {rank for one in ones if one not in bad for rank in one.ranks}
        guilty = {rank for one in bad for rank in one.ranks} - clear
        met = Counter(rank for one in ones for rank in one.ranks)
        sure = {rank for rank in guilty if met[rank] > 1}  # in one group alone, it may be the link
        groups |= {members(one, hosts) for one in bad if sure.isdisjoint(one.ranks)}
        ranks |= guilty
        if bad:
            sizes.add(case[1])
    return Suspects(frozenset(ranks), tuple(sorted(groups)), tuple(sorted({min(sizes), max(sizes)} if sizes else ())))


def schedule(found: Suspects, hosts: Sequence[Host], absent: frozenset[int]) -> list[list[Pair]]:
    """Pairs of hosts to test at the same time, step by step: all within one round.

    Each suspect meets known-good hosts, the hosts of a group with a slow link meet one another, and
    the rest meet among themselves, to show what is usual.

    Args:
        found: Who is suspect.
        hosts: All hosts.
        absent: Hosts that do not answer.
    """
    if not found:
        return []
    suspect = set(found.hosts(hosts)) - absent
    good = [host for host in range(len(hosts)) if host not in suspect and host not in absent]
    groups = [tuple(host for host in group if host not in absent) for group in found.groups]
    rounds = [list(_everyone_with_everyone(group)) for group in groups]
    steps = []
    for step in range(max(PARTNERS, *map(len, rounds), 0)):
        pairs: list[Pair] = []
        free = set(good) | suspect
        for circle in rounds:
            for pair in circle[step] if step < len(circle) else ():
                if free.issuperset(pair):
                    pairs.append(pair)
                    free -= set(pair)
        turn = step % max(len(good), 1)  # so that suspects meet others in each step
        partners = [host for host in (*good[turn:], *good[:turn]) if host in free]
        for host in sorted(suspect & free):
            if partners:
                partner = partners.pop(0)
                pairs.append((min(host, partner), max(host, partner)))
        pairs += [(min(pair), max(pair)) for pair in zip(partners[::2], partners[1::2], strict=False)]
        steps.append(sorted(pairs))
    return steps


def _everyone_with_everyone(group: Sequence[int]) -> Iterator[list[Pair]]:
    """All pairs of a group, in as few steps as can be: the circle method."""
    circle: list[int | None] = [*group, *([None] if len(group) % 2 else [])]
    for _ in range(len(circle) - 1):
        half = len(circle) // 2
        step = zip(circle[:half], reversed(circle[half:]), strict=True)
        yield [(min(a, b), max(a, b)) for a, b in step if a is not None and b is not None]
        circle.insert(1, circle.pop())
