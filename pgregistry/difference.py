"""How two plans differ, in words that a user knows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from pgregistry.plan import Plan, PlannedMode


def sentences(here: Plan, there: Plan) -> Iterator[str]:
    """One sentence for each difference that matters to the process groups, the causes first."""
    if here.fingerprint == there.fingerprint:
        return
    if here.world_size != there.world_size:
        yield f"world size: {here.world_size} here, {there.world_size} there"
    if here.ranks != there.ranks:
        yield f"within: {_within(here)} here, {_within(there)} there"
    for name in sorted({*here.modes, *there.modes}):
        if name not in there:
            yield f"mode {name}: only here ({here[name].plugin})"
        elif name not in here:
            yield f"mode {name}: only there ({there[name].plugin})"
    for name in sorted({*here.sizes, *there.sizes}):
        if here.sizes.get(name) != there.sizes.get(name):
            yield f"size {name}: {_size(here, name)} here, {_size(there, name)} there"
    large = [tuple(name for name in plan.order if plan.sizes[name] > 1) for plan in (here, there)]
    if set(large[0]) == set(large[1]) and large[0] != large[1]:
        yield f"order: {', '.join(large[0])} here, {', '.join(large[1])} there"
    for mode in here.planned:
        if mode.name in there:
            yield from _modes(mode, there[mode.name])
    common = [[name for name in plan.modes if name in here and name in there] for plan in (here, there)]
    if common[0] != common[1]:
        yield f"execution order: {', '.join(common[0])} here, {', '.join(common[1])} there"


def _within(plan: Plan) -> str:
    return "all ranks" if plan.ranks is None else f"ranks {plan.ranks}"


def _size(plan: Plan, name: str) -> str:
    return f"{plan.sizes[name]} ({plan.origins[name]})" if name in plan.sizes else "none"


def _modes(here: PlannedMode, there: PlannedMode) -> Iterator[str]:
    for key in ("dedicated", "backend", "timeout", "cpu", "options"):
        mine, theirs = getattr(here, key), getattr(there, key)
        if mine != theirs:
            yield f"mode {here.name}: {key} is {mine} here, {theirs} there"
    if here.identity()[1] == there.identity()[1]:
        return
    for index, (mine, theirs) in enumerate(zip_longest(here.groups, there.groups)):
        if mine != theirs:
            yield f"mode {here.name}: group {index} is {_group(mine)} here, {_group(theirs)} there"
            return


def _group(group: tuple[int, ...] | None) -> str:
    if group is None:
        return "missing"
    return str(group) if len(group) <= 8 else f"({', '.join(map(str, group[:6]))}, … {len(group)} ranks)"
