"""Nesting orders of the axes of a run, and which of them keep which groups inside hosts and domains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from math import factorial, isfinite
from typing import Final

from pgregistry.errors import ConfigError, PgregistryError, Problems, did_you_mean
from pgregistry.layouts.placement import Reach, reach
from pgregistry.planning.nesting import nest
from pgregistry.planning.planner import Planner
from pgregistry.values import shown

#: As many axes can be permuted: 40,320 orders.
MOST_AXES: Final = 8


@dataclass(frozen=True, slots=True)
class NestingOrder:
    """One nesting order, and how far the groups of each mode reach in it.

    Attributes:
        axes: The axes larger than 1, outermost first.
        reach: How many groups of each mode lie inside one host, inside one domain, and across.
        cost: What the groups that leave hosts and domains cost, by weight; less is better.
        current: True for the order that the run has now.
        refusal: Why the plan is refused in this order; empty if it is not.
    """

    axes: tuple[str, ...]
    reach: Mapping[str, Reach]
    cost: float
    current: bool
    refusal: str = ""


def nesting_orders(planner: Planner, weights: Mapping[str, float]) -> list[NestingOrder]:
    """Return every nesting order of the axes larger than 1, the best first, and those that are refused at the end.

    A group inside one host costs nothing, one that leaves its host 1, and one that leaves its domain 2. The cost of a
    mode is the mean of its groups times its weight, which is 1 unless `weights` has it. Orders of equal cost are
    sorted by name.

    >>> planner = Planner.read(8, {"tensor": 2, "ranks_per_host": 2, "only": ["data", "tensor"]}, environ={})
    >>> for order in nesting_orders(planner, {"tensor": 10}):
    ...     print(order.axes, order.cost, order.reach["tensor"].host, order.reach["data"].host)
    ('data', 'tensor') 1.0 4 0
    ('tensor', 'data') 11.0 0 0

    Args:
        planner: The planner of the run. It must know the hosts.
        weights: The weight of each mode, 0 or more.

    Raises:
        ConfigError: if hosts are not known, a weight is not that of a mode, or there are too many axes.
        PluginError: if a plugin does not load, or its declarations are invalid.
    """
    world = planner.world()
    modes = [one.mode.name for one in planner.declarations.modes]
    for name, weight in weights.items():
        if name not in modes:
            planner.problems.add(ConfigError(f"weight: there is no mode {shown(name)}. {did_you_mean(name, modes)}"))
        elif not (isfinite(weight) and weight >= 0):
            planner.problems.add(ConfigError(f"weight of {name} = {weight} must be a number from 0 on."))
    large = sorted(name for name, size in world.axes.items() if size.value > 1)
    if len(large) > MOST_AXES:
        text = f"{', '.join(large)} have {factorial(len(large))} orders; at most {MOST_AXES} axes may be larger than 1"
        planner.problems.add(ConfigError(f"{text}. Leave out those whose place is clear."))
    if world.hosts.ranks is None:
        text = "An order keeps groups inside hosts, so ranks per host must be known"
        planner.problems.add(ConfigError(f"{text}: give ranks_per_host=8, or hosts=."))
    planner.problems.raise_any()
    undecided = Problems()
    now = nest(planner.declarations, world.axes, planner.settings.order, undecided)
    current = None if undecided else tuple(axis for axis in now if axis in large)
    found = []
    for axes in permutations(large):
        try:
            planned = planner.modes_in(axes, world)
        except PgregistryError as error:
            found.append(NestingOrder(axes, {}, float("inf"), axes == current, str(error)))
            continue
        reaches = {one.name: counted for one in planned if (counted := reach(one.groups, world.hosts))}
        cost = sum(weights.get(name, 1) * _cost(one) for name, one in reaches.items())
        found.append(NestingOrder(axes, reaches, round(cost, 9), axes == current))
    return sorted(found, key=lambda one: (one.cost, one.axes))


def _cost(one: Reach) -> float:
    """Return the mean cost of groups: 0 inside a host, 1 for leaving it, 2 for leaving the domain too."""
    groups = one.host + (one.domain or 0) + one.across
    leaving_domain = 2 if one.domain is not None else 1
    return ((one.domain or 0) + leaving_domain * one.across) / groups if groups else 0.0
