"""Plans that cannot be built where ranks are, and what to give `init` so that they can."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from pgregistry.coordination.decision import Reason
from pgregistry.coordination.places.place import LISTED, SHOWN, Place, domains_of, hosts_of, pasted
from pgregistry.errors import format_ranks, listing
from pgregistry.planning.plans.plan import Plan
from pgregistry.settings.ranks import as_text


def misplaced(plan: Plan, places: Mapping[int, Place]) -> Reason | None:
    """Return why a plan cannot be built on the hosts, or in the domains, that ranks are in; None if it can.

    Only modes that need hosts or domains are concerned. Those of the plan may be smaller than those of the ranks. A
    rank whose domain is not known may be in any.
    """
    on_hosts = [repr(mode.name) for mode in plan.planned if mode.needs_hosts]
    if not on_hosts or plan.hosts is None:
        return None
    hosts = hosts_of(places)
    host = {rank: index for index, ranks in enumerate(hosts) for rank in ranks}
    if found := _apart(plan.hosts, host):
        ranks, other = found
        here, there = ([*hosts.values()][host[rank]] for rank in (ranks[0], other))
        but = f"on one host, but rank {ranks[0]} is on {here} and rank {other} on {there}, another host"
        return _reason(on_hosts, ranks, other, but, _to_paste(hosts, plan))
    in_domains = [repr(mode.name) for mode in plan.planned if mode.needs_domains]
    domains = domains_of(places) if in_domains else {}
    domain = {rank: name for name, ranks in domains.items() for rank in ranks}
    if found := _apart(_together(plan.hosts, plan.hosts_per_domain or 1), domain):
        ranks, other = found
        but = f"in one domain, but rank {ranks[0]} is in {domain[ranks[0]]} and rank {other} in {domain[other]}"
        return _reason(in_domains, ranks, other, but, _domains_to_paste(hosts, domains, plan))
    return None


def _apart(assumed: Iterable[Sequence[int]], unit: Mapping[int, Hashable]) -> tuple[list[int], int] | None:
    """Return ranks that a plan takes for those of one unit, and one of them that is not in the unit of the first."""
    for taken in assumed:
        ranks = [rank for rank in taken if rank in unit]
        for rank in ranks:
            if unit[rank] != unit[ranks[0]]:
                return ranks, rank
    return None


def _together(hosts: Iterable[Sequence[int]], number: int) -> Iterator[list[int]]:
    """Yield the ranks of so many hosts together."""
    rest = iter(hosts)
    while taken := [*islice(rest, number)]:
        yield [rank for ranks in taken for rank in ranks]


def _reason(modes: Sequence[str], ranks: Sequence[int], apart: int, but: str, paste: Sequence[str]) -> Reason:
    need = f"Mode{'s' * (len(modes) > 1)} {listing(modes)} need{'s' * (len(modes) == 1)}"
    lines = [f"{need} {format_ranks(ranks)} {but}; nothing was created.", *paste]
    return Reason("\n  ".join(lines), (ranks[0], apart), mismatch=True)


def _said(ranks: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Return the ranks of each host, or each domain, as ranks say."""
    shown = [f"{name} has {format_ranks(one)}" for name, one in ranks]
    return f"ranks say: {'; '.join(shown[:SHOWN])}{'; …' * (len(shown) > SHOWN)}"


def _to_paste(hosts: Mapping[tuple[int, ...], str], plan: Plan) -> list[str]:
    """Return the ranks of each host, and what to give `init` for them."""
    said, listed = _said((name, ranks) for ranks, name in hosts.items()), f"hosts={_pasted(hosts)}"
    if not _equal(hosts):
        return [
            said,
            f"HOST and DOMAIN need equally many ranks on each: give that part a number. For groups=: {listed}",
        ]
    order, each = [rank for ranks in hosts for rank in ranks], len(next(iter(hosts)))
    if len(order) == plan.world_size and order == [*(plan.ranks or range(len(order)))]:  # a number is wrong
        return [said, f"Give the number of ranks on each: ranks_per_host={each}, or the hosts: {listed}"]
    return [
        said,
        f"Bring the ranks of each host together: within={pasted(order)}",
        f"Give the hosts as they are in place of ranks_per_host=, and for modes of groups=: {listed}",
    ]


def _domains_to_paste(
    hosts: Mapping[tuple[int, ...], str], domains: Mapping[str, Sequence[int]], plan: Plan
) -> list[str]:
    """Return the ranks of each domain, and what to give `init` for them."""
    said, host = _said(domains.items()), {ranks[0]: ranks for ranks in hosts}
    of = [[host[rank] for rank in ranks if rank in host] for ranks in domains.values()]
    listed = [ranks for one in of for ranks in one]
    order = [rank for ranks in listed for rank in ranks]
    if not (_equal(of) and _equal(listed) and len(order) == len(plan.ranks or range(plan.world_size))):
        return [said, "DOMAIN needs equally many hosts in each domain: give that part a number."]
    number = f"hosts_per_domain={len(of[0])}"
    if order == sorted(order):
        return [said, f"Give the number of hosts in each: {number}"]
    if len(order) < plan.world_size:
        return [
            said,
            f"Bring the ranks of each domain together: list hosts= domain by domain, and within= so; {number}",
        ]
    return [said, f"Bring them together: within={pasted(order)}, hosts={_pasted(listed)}, {number}"]


def _equal(items: Iterable[Sequence[object]]) -> bool:
    return len(set(map(len, items))) == 1


def _pasted(hosts: Iterable[Sequence[int]]) -> str:
    """Return the ranks of each host to paste: as Python writes them if they are few, else as text."""
    listed = [[*ranks] for ranks in hosts]
    return str(listed) if sum(map(len, listed)) <= LISTED else repr(";".join(map(as_text, listed)))


def unequal_hosts(places: Mapping[int, Place]) -> str:
    """Return a line to paste, after a line break, if hosts have different numbers of ranks; empty if they do not."""
    hosts = hosts_of(places)
    return "" if _equal(hosts) or not hosts else f"\n  hosts have different numbers of ranks: hosts={_pasted(hosts)}"
