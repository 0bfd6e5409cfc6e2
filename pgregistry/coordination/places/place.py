"""The place of a rank: its host and its domain, in its own words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pgregistry.settings.ranks import as_text

#: Characters of a name or an address that are kept, and those that are replaced.
LONGEST: Final = 80
OTHER: Final = re.compile(r"[^\w.:%-]", re.ASCII)
#: Ranks up to which lists to paste are written as Python does, and hosts or domains that a text shows.
LISTED: Final = 64
SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one rank, in its own words.

    Attributes:
        host: The name of its host.
        node: The number of its host among all, as its launcher says; empty if it does not.
        local_rank: Its rank among those of its host; None if its launcher does not say.
        address: An address at which other hosts reach its host; empty if it knows none.
        domain: The domain of its host, as Slurm says; empty if it does not.
    """

    host: str
    node: str = ""
    local_rank: int | None = None
    address: str = ""
    domain: str = ""

    def note(self) -> str:
        """Return the place as a note without spaces.

        >>> Place.read(Place("n 1", "0", 3, "10.0.0.1", "s1").note())
        Place(host='n_1', node='0', local_rank=3, address='10.0.0.1', domain='s1')
        """
        local = "" if self.local_rank is None else str(self.local_rank)
        texts = (self.host, self.node, local, self.address, self.domain)
        return "/".join(OTHER.sub("_", text)[:LONGEST] for text in texts)

    @staticmethod
    def read(note: str) -> Place:
        """Return the place in a note; raise ValueError if it is not one."""
        host, node, local, address, domain = note.split("/")
        if max(map(len, (host, node, local, address, domain))) > LONGEST:
            raise ValueError("longer than any place")
        return Place(host, node, int(local) if local else None, address, domain)


def hosts_of(places: Mapping[int, Place]) -> dict[tuple[int, ...], str]:
    """Return the ranks of each host, ascending by the first, with its name.

    Two ranks with one local rank are on two hosts, whatever the names of these.

    >>> hosts_of({0: Place("n1"), 1: Place("n2"), 2: Place("n1")})
    {(0, 2): 'n1', (1,): 'n2'}
    """
    met: Counter[tuple[object, ...]] = Counter()
    hosts: dict[tuple[object, ...], list[int]] = {}
    for rank in sorted(places):
        one = places[rank]
        same = (one.host, one.node, one.local_rank)
        hosts.setdefault((one.host, one.node, 0 if one.local_rank is None else met[same]), []).append(rank)
        met[same] += 1
    return {tuple(ranks): str(key[0]) for key, ranks in hosts.items()}


def domains_of(places: Mapping[int, Place]) -> dict[str, list[int]]:
    """Return the ranks of each domain, as far as Slurm says in which a rank is, ascending by the first.

    >>> domains_of({0: Place("n1", domain="s1"), 1: Place("n2", domain="s2"), 2: Place("n3", domain="s1")})
    {'s1': [0, 2], 's2': [1]}
    """
    domains: dict[str, list[int]] = {}
    for rank in sorted(places):
        if name := places[rank].domain:
            domains.setdefault(name, []).append(rank)
    return domains


def out_of_order(places: Mapping[int, Place]) -> str | None:
    """Return the warning for hosts that are numbered by the text of their names; None if there is no need.

    >>> names = ["node1", "node10", "node2"]
    >>> print(out_of_order({rank: Place(name) for rank, name in enumerate(names)}))
    torchrun numbered hosts by the text of their names (node1, node10, node2), so node1 and node2 are not neighbours. \
If near hosts have near numbers, give within=[0, 2, 1].
    """
    hosts = hosts_of(places)
    names = list(hosts.values())
    by_number = sorted(names, key=_natural)
    if names != sorted(names) or names == by_number:
        return None
    first = next(index for index, name in enumerate(names) if name != by_number[index])
    order = [rank for ranks in sorted(hosts, key=lambda ranks: _natural(hosts[ranks])) for rank in ranks]
    few = f"{', '.join(names[:SHOWN])}{', …' * (len(names) > SHOWN)}"
    return (
        f"torchrun numbered hosts by the text of their names ({few}), so {by_number[first - 1]} and {by_number[first]} "
        f"are not neighbours. If near hosts have near numbers, give within={pasted(order)}."
    )


def pasted(ranks: list[int]) -> str:
    """Return a list of ranks to paste: as Python writes it if it is short, else as text.

    >>> pasted([0, 2, 1]), pasted([*range(100)])
    ('[0, 2, 1]', "'0-99'")
    """
    return str(ranks) if len(ranks) <= LISTED else repr(as_text(ranks))


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    parts: Iterator[str] = iter(re.split(r"(\d{1,18})", name))
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts if part)
