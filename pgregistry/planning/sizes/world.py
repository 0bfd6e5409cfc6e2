"""The world of a plan: what does not depend on the nesting order of its axes."""

from __future__ import annotations

from typing import NamedTuple

from pgregistry.layouts.hosts import Hosts, in_order
from pgregistry.planning.declarations import Declarations
from pgregistry.planning.sizes.resolver import Resolver
from pgregistry.settings.launchers.launcher import LAUNCHED
from pgregistry.settings.merge import Settings, Sizes


class World(NamedTuple):
    """The world of a plan.

    Attributes:
        positions: How many ranks the plan lives on.
        hosts: The hosts, as far as they are known.
        axes: The size of every axis.
    """

    positions: int
    hosts: Hosts
    axes: Sizes


def read_world(world_size: int, declarations: Declarations, settings: Settings) -> World:
    """Return the world that these settings and declarations make.

    Raises:
        ConfigError: if sizes do not fit the world, with the sizes that would.
        PluginError: if sizes depend on each other in a cycle.
    """
    ranks = settings.within.value if settings.within else None
    positions = world_size if ranks is None else len(ranks)
    hosts = _hosts(world_size, ranks, settings)
    return World(positions, hosts, Resolver(positions, declarations, settings, hosts).axes())


def _hosts(world_size: int, ranks: tuple[int, ...] | None, settings: Settings) -> Hosts:
    """Return the hosts, as far as they are known."""
    given = {name: getattr(settings, name) for name in ("ranks_per_host", "hosts", "hosts_per_domain")}
    if settings.hosts and settings.ranks_per_host and settings.ranks_per_host.origin in LAUNCHED:
        del given["ranks_per_host"]  # the launcher says less than the user
    elif settings.hosts and settings.hosts.origin in LAUNCHED and settings.ranks_per_host:
        del given["hosts"]
    values = {name: one.value for name, one in given.items() if one}
    origins = {name: one.origin for name, one in given.items() if one}
    each = settings.ranks_per_host
    if each and each.origin in LAUNCHED and "hosts" not in values and ranks is not None:
        # A launcher that interleaves ranks says only how many: `within` brings those of a host together.
        hosts = in_order(ranks, each.value, world_size)
        values |= {"hosts": hosts} if hosts else {}
        origins |= {"hosts": f"{each.origin}, in the order of within"} if hosts else {}
    return Hosts(world_size, **values, within=ranks, origins=origins)
