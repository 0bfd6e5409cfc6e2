"""The ranks that a picture draws: whole hosts and domains of a world that is too large for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgregistry.errors import ConfigError
from pgregistry.planning.plans.contents import PlanContents

#: A page draws at most so many ranks.
DRAWN: Final = 4096
#: Above this world size nothing is drawn: groups that touch the window may have as many ranks.
LARGEST_WORLD: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """The hosts that are drawn, by the index of their domain and their own index.

    Attributes:
        domains: The ranks of each host, by its index, in each domain, by its index. Without hosts, one of all ranks.
        note: Which ranks these are; empty if they are all.
    """

    domains: dict[int, dict[int, tuple[int, ...]]]
    note: str

    @property
    def ranks(self) -> list[int]:
        """Return all ranks that are drawn."""
        return [rank for hosts in self.domains.values() for ranks in hosts.values() for rank in ranks]


def window(plan: PlanContents, rank: int | None = None) -> Window:
    """Return the part of a plan's world that is drawn: all of it, or the part that a rank is in.

    >>> import pgregistry
    >>> window(pgregistry.plan(8, ranks_per_host=2, hosts_per_domain=2)).domains
    {0: {0: (0, 1), 1: (2, 3)}, 1: {2: (4, 5), 3: (6, 7)}}
    >>> window(pgregistry.plan(1 << 16, ranks_per_host=8), rank=5000).note
    'These are ranks 4096 to 8191 of 65536.'

    Args:
        plan: The plan.
        rank: A rank that must be drawn; None for the first ones.

    Raises:
        ConfigError: if the world is too large.
    """
    if plan.world_size > LARGEST_WORLD:
        way_out = "`pgregistry plan` answers at any size, with --rank or --mode."
        raise ConfigError(f"world_size = {plan.world_size} must be at most {LARGEST_WORLD} for a picture. {way_out}")
    rank, together = rank or 0, plan.hosts_per_domain or 1
    hosts: Sequence[tuple[int, ...]] = plan.hosts or ()
    host = next((index for index, ranks in enumerate(hosts) if rank in ranks), 0)
    largest = max(map(len, hosts), default=plan.world_size)
    if not hosts or largest > DRAWN:
        ranks = hosts[host] if hosts else range(plan.world_size)
        start = ranks.index(rank) // DRAWN * DRAWN
        chosen = {host: tuple(ranks[start : start + DRAWN])}
    else:
        count = DRAWN // largest
        count = count // together * together or count
        start = 0 if plan.world_size <= DRAWN else host // count * count
        stop = len(hosts) if plan.world_size <= DRAWN else start + count
        chosen = dict(enumerate(hosts[start:stop], start))
    domains: dict[int, dict[int, tuple[int, ...]]] = {}
    for index, one in chosen.items():
        domains.setdefault(index // together, {})[index] = one
    return Window(domains, _note(plan, [rank for one in chosen.values() for rank in one]))


def _note(plan: PlanContents, drawn: Sequence[int]) -> str:
    if len(drawn) == plan.world_size:
        return ""
    if list(drawn) == list(range(drawn[0], drawn[-1] + 1)):
        return f"These are ranks {drawn[0]} to {drawn[-1]} of {plan.world_size}."
    return f"These are {len(drawn)} of {plan.world_size} ranks, from rank {drawn[0]}."
