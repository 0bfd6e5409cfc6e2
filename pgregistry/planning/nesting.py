"""Which axis lies inside which: declared as inside= and outside=, or said by the user in order=."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from itertools import combinations

from pgregistry.errors import ConfigError, PluginError, Problems, did_you_mean, listing
from pgregistry.planning.declarations import Declarations
from pgregistry.settings.merge import ConfigValue


def nest(
    declarations: Declarations,
    sizes: Mapping[str, int],
    order: ConfigValue[tuple[str, ...]] | None,
    problems: Problems,
) -> tuple[str, ...]:
    """The axes, outermost first.

    Axes of size 1 move nobody's ranks, so only larger ones must be comparable. Which of two
    plugins was installed first, or comes first in the alphabet, never decides.
    """
    around = _around(declarations)
    default = _linear(around)
    if order is None:
        _check_unique(default, sizes, around, declarations, problems)
        return default
    named = order.value
    missing = [name for name in default if sizes[name] > 1 and name not in named]
    if missing:
        sized = listing(f"{name} = {sizes[name]}" for name in missing)
        problems.add(
            ConfigError(
                f"order = {','.join(named)} ({order.origin}) leaves out {sized}; "
                "every axis larger than 1 must be named, outermost first."
            )
        )
    if unknown := [name for name in named if name not in declarations.axes]:
        named = tuple(name for name in named if name not in unknown)  # `check_order` said so
    return (*named, *(name for name in default if name not in named))


def check_order(declarations: Declarations, order: ConfigValue[tuple[str, ...]] | None, problems: Problems) -> None:
    """Add to `problems` the names in `order` that are no axis, or there twice."""
    for name in dict.fromkeys(order.value if order else ()):
        if order and name not in declarations.axes:
            kind = "is a part of a split, not an axis" if name in declarations.parts else "is not an axis"
            problems.add(
                ConfigError(f"order: {name!r} {kind} ({order.origin}). {did_you_mean(name, declarations.axes)}")
            )
        elif order and order.value.count(name) > 1:
            problems.add(ConfigError(f"order: {name!r} is named twice ({order.origin})."))


def _around(declarations: Declarations) -> dict[str, set[str]]:
    """For each axis the axes directly around it, of those that are there."""
    around: dict[str, set[str]] = {name: set() for name in declarations.axes}
    for name, axis in declarations.axes.items():
        around[name].update(outer for outer in axis.inside if outer in around)
        for inner in axis.outside:
            if inner in around:
                around[inner].add(name)
    return around


def _linear(around: Mapping[str, set[str]]) -> tuple[str, ...]:
    sorter = graphlib.TopologicalSorter({name: sorted(outer) for name, outer in around.items()})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        raise PluginError(f"Axes nest in a cycle: {' around '.join(error.args[1])}.") from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())  # by name only where size 1 makes the order meaningless
        order += ready
        sorter.done(*ready)
    return tuple(order)


def _check_unique(
    default: tuple[str, ...],
    sizes: Mapping[str, int],
    around: Mapping[str, set[str]],
    declarations: Declarations,
    problems: Problems,
) -> None:
    outside: dict[str, set[str]] = {}
    for name in default:
        outside[name] = around[name].union(*(outside[outer] for outer in around[name]))
    large = [name for name in default if sizes[name] > 1]
    for first, second in combinations(large, 2):
        if first not in outside[second] and second not in outside[first]:
            owners = [f"{name!r} ({declarations.owners[name].plugin})" for name in (first, second)]
            problems.add(
                PluginError(
                    f"Axes {owners[0]} and {owners[1]} are both larger than 1 and neither is inside the other.\n"
                    f"Say which is outermost, as in order={list(large)}, "
                    "or ask the author of one to declare inside= or outside=."
                )
            )
