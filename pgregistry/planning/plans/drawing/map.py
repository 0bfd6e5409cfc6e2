"""A plan as a map to explore: domains, in them hosts, in them ranks, and the groups that they are in."""

from __future__ import annotations

from typing import Any

from pgregistry.planning.plans.contents import PlanContents, known_hosts
from pgregistry.planning.plans.drawing.window import Window, window
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.view import REACH, PlanView, counts, over, world
from pgregistry.views.page import page


def html_page(plan: PlanContents, mode: str | None = None, rank: int | None = None) -> str:
    """Return the page of a plan, which needs no other file.

    >>> import pgregistry
    >>> html_page(pgregistry.plan(8, tensor=2)).partition(chr(10))[0]
    '<!doctype html>'

    Args:
        plan: The plan.
        mode: The mode that it shows first; None for the first one.
        rank: The rank that it shows first, if any. A large world is drawn around it.

    Raises:
        ConfigError: if the world is too large for a picture.
    """
    drawn = window(plan, rank)
    known = {"hosts": plan.hosts is not None, "domains": plan.hosts is not None and plan.hosts_per_domain is not None}
    notes = [drawn.note, "" if known["hosts"] else "Hosts are not known: give --ranks-per-host or --hosts to see them."]
    notes += [text[:1].upper() + text[1:] for text in known_hosts(plan).uneven()]
    notes.append(f"Fingerprint {plan.fingerprint}.")
    domains = [
        {"domain": domain, "hosts": [{"host": host, "ranks": ranks} for host, ranks in hosts.items()]}
        for domain, hosts in drawn.domains.items()
    ]
    data = {
        "world_size": plan.world_size,
        "mode": mode,
        "rank": rank,
        "known": known,
        "domains": domains,
        "out": [] if plan.ranks is None else sorted({*drawn.ranks} - {*plan.ranks}),
        "missing": _missing(plan, drawn),
        "modes": _modes(plan, drawn),
    }
    return page(world(plan), " ".join(filter(None, notes)), PlanView(plan).html_tables(), data)


def _missing(plan: PlanContents, drawn: Window) -> str:
    """Return what to answer to a rank that is not drawn."""
    if not drawn.note:
        return f"There is no rank {{rank}}: the ranks are 0 to {plan.world_size - 1}."
    return "Rank {rank} is not drawn. Draw the part that it is in: pgregistry show … --rank {rank} --html FILE"


def _modes(plan: PlanContents, drawn: Window) -> list[dict[str, Any]]:
    """Return what the script knows of each mode: its words, and the groups that ranks which are drawn are in."""
    ranks = drawn.ranks
    units = _units(plan)
    return [
        {
            "name": mode.name,
            "over": over(mode),
            "counts": counts(mode),
            "reach": _reach(plan, mode),
            **_groups(mode, ranks, units),
        }
        for mode in plan.planned
    ]


def _reach(plan: PlanContents, mode: PlannedMode) -> str:
    """Return in words how far groups reach; empty if hosts are not known."""
    across = f"across {'domains' if plan.hosts_per_domain else 'hosts'}"
    numbers = zip((*REACH[:2], across), plan.reach(mode.name) or (), strict=False)
    return " · ".join(f"{number} {name}" for name, number in numbers if number)


def _units(plan: PlanContents) -> list[dict[int, int]]:
    """Return the host of each rank, and its domain; nothing if they are not known."""
    if plan.hosts is None:
        return []
    host = {rank: index for index, ranks in enumerate(plan.hosts) for rank in ranks}
    together = plan.hosts_per_domain or 1
    return [host, {rank: index // together for rank, index in host.items()}]


def _groups(mode: PlannedMode, ranks: list[int], units: list[dict[int, int]]) -> dict[str, Any]:
    """Return the groups of these ranks, and the indices of those that cross hosts, and domains.

    A group is [index, ranks]; if not all of its ranks are drawn it is [index, those that are drawn, size, their
    positions, the ranks before them, the ranks after them].
    """
    shown, groups, done = {*ranks}, [], set[int]()
    cut: dict[str, list[int]] = {"host": [], "domain": []}
    for rank in ranks:
        index = None if rank in done else mode.groups.index_of(rank)
        if index is None:
            continue
        group = mode.groups[index]
        places = [place for place, member in enumerate(group) if member in shown]
        members = [group[place] for place in places]
        done.update(members)
        one: list[Any] = [index, members]
        if len(members) < len(group):
            around = ([group[(place + step) % len(group)] for place in places] for step in (-1, 1))
            one += [len(group), places, *around]
        groups.append(one)
        crossed = [len({unit[member] for member in group}) > 1 for unit in units]
        if any(crossed):
            cut["domain" if crossed[1] else "host"].append(index)
    return {"groups": groups, "cut": cut}
