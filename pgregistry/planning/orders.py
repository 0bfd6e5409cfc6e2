"""Nesting orders of the axes of a run, and which of them keep which groups inside hosts and domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from math import factorial, isfinite
from typing import Final

from pgregistry.errors import ConfigError, PgregistryError, Problems, did_you_mean, listing
from pgregistry.layouts.placement import Reach, reach
from pgregistry.planning.declarations import Declarations
from pgregistry.planning.nesting import axes_outside, nest
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.references import walk
from pgregistry.values import shown
from pgregistry.vocabulary import Axis, Reference

#: As many axes can be permuted: 40,320 orders.
MOST_AXES: Final = 8
#: Without given weights, an axis weighs so many times as much for each axis that plugins nest it inside of.
DEEPER: Final = 10


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
    mode is the mean of its groups times its weight: that of `mode_weights`. Modes with equal groups count once, by the
    largest of their weights. Of orders of equal cost the current one is first, and the others are sorted by name.

    >>> planner = Planner.read(8, {"tensor": 2, "ranks_per_host": 2, "only": ["data", "tensor"]}, environ={})
    >>> for order in nesting_orders(planner, {"tensor": 10}):
    ...     print(order.axes, order.cost, order.reach["tensor"].host, order.reach["data"].host)
    ('data', 'tensor') 1.0 4 0
    ('tensor', 'data') 11.0 0 0

    Args:
        planner: The planner of the run. It must know the hosts.
        weights: The weights that are given, 0 or more each; empty for default weights.

    Raises:
        ConfigError: if hosts are not known, no order moves a mode with a weight, the order at hand is not one, or there
            are too many axes.
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
    weighed = {} if planner.problems else mode_weights(planner, weights)
    for name in sorted(weights.keys() - weighed.keys()) if weighed else ():
        text = f"weight of {name}: no order moves a mode over the whole world or over nothing"
        planner.problems.add(ConfigError(f"{text}. Give weights to {listing(weighed, 'or')}."))
    planner.problems.raise_any()
    undecided = Problems()
    now = nest(planner.declarations, world.axes, planner.settings.order, undecided)
    if planner.settings.order:
        undecided.raise_any()
    current = None if undecided else tuple(axis for axis in now if axis in large)
    found = []
    for axes in permutations(large):
        try:
            planned = planner.modes_in(axes, world)
        except PgregistryError as error:
            found.append(NestingOrder(axes, {}, float("inf"), axes == current, str(error)))
            continue
        reaches = {one.name: counted for one in planned if (counted := reach(one.groups, world.hosts))}
        cost = sum(weight * _cost(reaches[name]) for name, weight in _once(planned, weighed))
        found.append(NestingOrder(axes, reaches, round(cost, 9), axes == current))
    return sorted(found, key=lambda one: (one.cost, not one.current, one.axes))


def mode_weights(planner: Planner, given: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each mode that an order can move; modes over the world or over nothing are left out.

    With weights that are given, all other modes weigh 1. Without, an axis weighs 10 times as much for each axis larger
    than 1 that plugins nest it inside of, because by convention the axis that communicates most is innermost. A mode
    over several axes weighs as much as the lightest of them, and one whose groups a function lists 1.

    >>> planner = Planner.read(16, {"tensor": 4, "pipe": 2}, environ={})
    >>> mode_weights(planner, {})
    {'data': 1, 'pipe': 10, 'tensor': 100, 'model': 10, 'zero1': 1}
    >>> mode_weights(planner, {"tensor": 5})
    {'data': 1, 'pipe': 1, 'tensor': 5, 'model': 1, 'zero1': 1}

    Args:
        planner: The planner of the run.
        given: The weights that are given.

    Raises:
        ConfigError: if sizes do not fit the world.
        PluginError: if a plugin does not load, or its declarations are invalid.
    """
    sizes, declarations = planner.world().axes, planner.declarations
    large = {name for name, size in sizes.items() if size.value > 1}
    deep = {name: DEEPER ** len(outside & large) for name, outside in axes_outside(declarations).items()}
    weights: dict[str, float] = {}
    for one in declarations.modes:
        mode = one.mode
        axes = None if mode.over is None else _axes(mode.over, declarations)
        if axes is None or axes:
            default = 1 if given or axes is None else min(deep[name] for name in axes & large or axes)
            weights[mode.name] = given.get(mode.name, default)
    return weights


def _axes(references: Iterable[Reference], declarations: Declarations) -> set[str]:
    """Return the axes that references are made of, through splits."""
    found = set[str]()
    for reference in walk(map(declarations.find, references)):
        if isinstance(reference, Axis):
            found.add(reference.name)
        elif isinstance(reference, str):
            found |= _axes([reference], declarations)
    return found


def _once(planned: Iterable[PlannedMode], weights: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return one mode for each distinct set of groups, with the largest weight of those that have it."""
    found: dict[str, tuple[str, float]] = {}
    for one in planned:
        if one.name in weights:
            key = str(one.groups.key() if one.layout is None else one.layout.key())
            name, weight = found.get(key, (one.name, 0.0))
            found[key] = (name, max(weight, weights[one.name]))
    return list(found.values())


def _cost(one: Reach) -> float:
    """Return the mean cost of groups: 0 inside a host, 1 for leaving it, 2 for leaving the domain too."""
    groups = one.host + (one.domain or 0) + one.across
    leaving_domain = 2 if one.domain is not None else 1
    return ((one.domain or 0) + leaving_domain * one.across) / groups if groups else 0.0
