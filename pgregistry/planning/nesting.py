"""The nesting order of axes: from inside= and outside= of plugins, or from the user's order=."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from pgregistry.errors import ConfigError, Problems, did_you_mean, listing
from pgregistry.planning.declarations import Declarations, DeclaredMode, prepared
from pgregistry.registry.plugin import plugin_error
from pgregistry.settings.merge import Order, Sizes


def nest(declarations: Declarations, sizes: Sizes, order: Order, problems: Problems) -> tuple[str, ...]:
    """Return the axes, outermost first; add to `problems` larger axes that cannot be ordered.

    An axis of size 1 moves no rank, so only larger ones must be comparable. Neither the order of
    installation nor the alphabet decides between two axes.
    """
    outside = axes_outside(declarations)
    default = tuple(outside)
    large = [name for name in default if sizes[name].value > 1]
    if order is None:
        _check_pairs(large, outside, declarations.owners, problems)
        return default
    named = order.value
    left_out = [name for name in large if name not in named]
    if left_out:
        sized = listing(f"{name} = {sizes[name].value}" for name in left_out)
        text = f"order = {','.join(named)} ({order.origin}) leaves out {sized}; "
        problems.add(ConfigError(f"{text}every axis larger than 1 must be named, outermost first."))
    named = tuple(name for name in named if name in declarations.axes)  # `check_order` reports the others
    return (*named, *(name for name in default if name not in named))


def check_order(declarations: Declarations, order: Order, problems: Problems) -> None:
    """Add to `problems` each name in `order` that is not an axis, or is there twice."""
    if order is None:
        return
    for name in dict.fromkeys(order.value):
        if name not in declarations.axes:
            kind = "is a part of a split, not an axis" if name in declarations.parts else "is not an axis"
            hint = did_you_mean(name, declarations.axes)
            problems.add(ConfigError(f"order: {name!r} {kind} ({order.origin}). {hint}"))
        elif order.value.count(name) > 1:
            problems.add(ConfigError(f"order: {name!r} is named twice ({order.origin})."))


def axes_outside(declarations: Declarations) -> dict[str, set[str]]:
    """Return for each axis, outermost first, every axis that plugins nest it inside of, directly or not."""
    around = _around(declarations)
    outside = {name: around[name] for name in _linear(around)}
    for name, direct in outside.items():
        outside[name] = direct.union(*(outside[outer] for outer in direct))
    return outside


def _around(declarations: Declarations) -> dict[str, set[str]]:
    """Return for each axis the declared axes directly around it."""
    around: dict[str, set[str]] = {name: set() for name in declarations.axes}
    for name, axis in declarations.axes.items():
        around[name].update(around.keys() & axis.inside)
        for inner in around.keys() & axis.outside:
            around[inner].add(name)
    return around


def _linear(around: Mapping[str, set[str]]) -> tuple[str, ...]:
    sorter = prepared({name: sorted(outer) for name, outer in around.items()}, "Axes nest", " inside ")
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())  # by name, which matters only to axes of size 1
        order += ready
        sorter.done(*ready)
    return tuple(order)


def _check_pairs(
    large: list[str], outside: Mapping[str, set[str]], owners: Mapping[str, DeclaredMode], problems: Problems
) -> None:
    """Add each two axes larger than 1 of which neither is inside the other."""
    for first, second in combinations(large, 2):
        if first not in outside[second] and second not in outside[first]:
            named = [f"{name!r} ({owners[name].plugin})" for name in (first, second)]
            text = f"Axes {named[0]} and {named[1]} are both larger than 1 and neither is inside the other."
            way_out = f"Set their order, outermost first, as in order={large}, or ask the author of one to declare"
            plugins = [owners[name].plugin for name in (first, second)]
            problems.add(plugin_error(f"{text}\n{way_out} inside= or outside=.", *plugins))
