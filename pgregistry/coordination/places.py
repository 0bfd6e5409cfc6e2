"""The places of ranks: what each writes of its host, compared with what the plan took for granted about hosts."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pgregistry.coordination.decision import Reason
from pgregistry.coordination.roster import Roster
from pgregistry.coordination.store.codec import read_numbers
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import format_ranks, listing
from pgregistry.planning.plans.plan import Plan

log = logging.getLogger("pgregistry")

#: Characters of a host's name or address that are kept.
LONGEST: Final = 80
#: Ranks up to which lists to paste are written as Python does, and hosts that a text shows.
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
    """

    host: str
    node: str = ""
    local_rank: int | None = None
    address: str = ""

    def note(self) -> str:
        """Return the place as a note without spaces.

        >>> Place.read(Place("n 1", "0", 3, "10.0.0.1").note())
        Place(host='n_1', node='0', local_rank=3, address='10.0.0.1')
        """
        local = "" if self.local_rank is None else str(self.local_rank)
        texts = (self.host, self.node, local, self.address)
        return "/".join(re.sub(r"[^\w.:%-]", "_", text, flags=re.ASCII)[:LONGEST] for text in texts)

    @staticmethod
    def read(note: str) -> Place:
        """Return the place in a note; raise ValueError if it is not one."""
        host, node, local, address = note.split("/")
        if max(map(len, (host, node, address))) > LONGEST or len(local) > LONGEST:
            raise ValueError("longer than any place")
        return Place(host, node, int(local) if local else None, address)


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


def misplaced(plan: Plan, places: Mapping[int, Place]) -> Reason | None:
    """Return why a plan cannot be built on the hosts that ranks are on; None if it can.

    Only modes that need hosts are concerned. Hosts of the plan may be smaller than those of the ranks.
    """
    modes = [repr(mode.name) for mode in plan.planned if mode.needs_hosts]
    if not modes or plan.hosts is None:
        return None
    hosts = hosts_of(places)
    host = {rank: index for index, ranks in enumerate(hosts) for rank in ranks}
    for assumed in plan.hosts:
        here = [rank for rank in assumed if rank in host]
        if apart := next((rank for rank in here if host[rank] != host[here[0]]), None):
            names = list(hosts.values())
            need = f"Mode{'s' * (len(modes) > 1)} {listing(modes)} need{'s' * (len(modes) == 1)}"
            return Reason(
                f"{need} {format_ranks(here)} on one host, but rank {here[0]} is on {names[host[here[0]]]} and rank "
                f"{apart} on {names[host[apart]]}, another host; nothing was created.\n{_to_paste(hosts)}",
                (here[0], apart),
                mismatch=True,
            )
    return None


def _to_paste(hosts: Mapping[tuple[int, ...], str]) -> str:
    """Return the ranks of each host, and what to give `init` for them."""
    shown = [f"{name} has {format_ranks(ranks)}" for ranks, name in list(hosts.items())[:SHOWN]]
    lines = [f"ranks say: {'; '.join(shown)}{'; …' * (len(hosts) > SHOWN)}"]
    listed = f"hosts={_pasted(hosts)}"
    if len(set(map(len, hosts))) == 1:
        order = [rank for ranks in hosts for rank in ranks]
        lines.append(
            f"Bring the ranks of each host together: within={order if len(order) <= LISTED else _text(order)!r}"
        )
        lines.append(f"Modes of groups= can also have the hosts as they are: {listed}")
    else:
        lines.append(f"HOST and DOMAIN need equally many ranks on each: give that part a number. For groups=: {listed}")
    return "\n".join(f"  {line}" for line in lines)


def _pasted(hosts: Mapping[tuple[int, ...], str]) -> str:
    if sum(map(len, hosts)) <= LISTED:
        return str([list(ranks) for ranks in hosts])
    return repr(";".join(map(_text, hosts)))


def _text(ranks: list[int] | tuple[int, ...]) -> str:
    return ",".join(map(str, ranks))


def unequal_hosts(places: Mapping[int, Place]) -> str:
    """Return a line to paste, after a line break, if hosts have different numbers of ranks; empty if they do not."""
    hosts = hosts_of(places)
    return f"\n  hosts have different numbers of ranks: hosts={_pasted(hosts)}" if len(set(map(len, hosts))) > 1 else ""


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
        f"are not neighbours. If near hosts have near numbers, give within="
        f"{order if len(order) <= LISTED else repr(_text(order))}."
    )


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    parts: Iterator[str] = iter(re.split(r"(\d{1,18})", name))
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts if part)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A rank that has come to an agreement.

    Attributes:
        digest: That of its proposal; empty if it is that of the reference.
        in_use: The numbers that it has in use, as bits; 0 if they are those of the reference.
        place: Where it is.
    """

    digest: str
    in_use: int
    place: Place

    @staticmethod
    def read(note: str) -> Arrival:
        """Return what a rank has signed with; raise ValueError if it is not that."""
        digest, in_use, place = note.split("/", 2)
        return Arrival(digest, read_numbers(in_use), Place.read(place))


class Arrivals:
    """The ranks that have come to an agreement.

    Args:
        scope: The scope of this `init`.
        place: Where this rank is.
        plan: The plan of this rank, if it has one.
        numbered: Whether torchrun numbered several hosts.
    """

    def __init__(self, scope: ScopedStore, place: Place, plan: Plan | None = None, *, numbered: bool = False) -> None:
        self._roster = Roster(scope, "roster")
        self._place, self._plan = place, plan
        self._numbered = numbered and plan is not None and plan.ranks is None

    def sign(self, digest: str = "", in_use: int = 0) -> None:
        """Sign for this rank, with the digest and the numbers in use if they are not those of the reference."""
        self._roster.sign(f"{digest}/{in_use:x}/{self._place.note()}")

    def read(self) -> dict[int, Arrival]:
        """Return the ranks that have come."""
        return self._roster.read(Arrival.read)

    def missing(self) -> list[int]:
        """Return the ranks that have not come."""
        return self._roster.missing()

    def places(self) -> dict[int, Place]:
        """Return where the ranks are that have come."""
        return {rank: one.place for rank, one in self.read().items()}

    def problem(self) -> Reason | None:
        """Return why the plan cannot be built on the hosts that ranks are on; warn if their order may be wrong.

        The places of the others are read only if a mode needs hosts, or torchrun numbered several.
        """
        plan = self._plan
        if plan is None or not (self._numbered or any(mode.needs_hosts for mode in plan.planned)):
            return None
        places = self.places()
        if self._numbered and (warning := out_of_order(places)):
            log.warning("pgregistry: %s", warning)
        return misplaced(plan, places)
