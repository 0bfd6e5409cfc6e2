"""The differences between two plans, in words that a user knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from pgregistry.planning.plans.contents import PlanContents
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.settings.merge import DEFAULT, LEFT

#: Groups up to this size are compared rank by rank.
COMPARED: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs between two plans."""

    what: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.what}: {self.here} here, {self.there} there"


def differences(here: PlanContents, there: PlanContents) -> Iterator[Difference]:
    """Yield each difference that matters to the process groups, the causes first."""
    options = [[_exactly(mode.options) for mode in plan.planned] for plan in (here, there)]
    if here.fingerprint == there.fingerprint and options[0] == options[1]:
        return
    if here.world_size != there.world_size:
        yield Difference("world size", str(here.world_size), str(there.world_size))
    if here.ranks != there.ranks:
        yield Difference("within", _within(here), _within(there))
    for name in sorted({*here.modes, *there.modes}):
        if name not in here or name not in there:
            yield Difference(f"mode {name}", _declared(here, name), _declared(there, name))
    derived = {LEFT, DEFAULT}
    mine, others = here.origins, there.origins
    given_first = sorted({*mine, *others}, key=lambda name: ({mine.get(name), others.get(name)} <= derived, name))
    for name in given_first:
        if here.sizes.get(name) != there.sizes.get(name):
            yield Difference(f"size {name}", _size(here, name), _size(there, name))
    for name in sorted({*here.settings, *there.settings}):
        if here.settings.get(name) != there.settings.get(name):
            yield Difference(f"setting {name}", _setting(here, name), _setting(there, name))
    large = [tuple(name for name in plan.order if plan.values[name].value > 1) for plan in (here, there)]
    if set(large[0]) == set(large[1]) and large[0] != large[1]:
        yield Difference("order", ", ".join(large[0]), ", ".join(large[1]))
    for mode in here.planned:
        if mode.name in there:
            yield from _modes(mode, there[mode.name])
    common = [[name for name in plan.modes if name in here and name in there] for plan in (here, there)]
    if common[0] != common[1]:
        yield Difference("execution order", ", ".join(common[0]), ", ".join(common[1]))


def _within(plan: PlanContents) -> str:
    return "all ranks" if plan.ranks is None else f"ranks {plan.ranks}"


def _declared(plan: PlanContents, name: str) -> str:
    return str(plan[name].plugin) if name in plan else "none"


def _size(plan: PlanContents, name: str) -> str:
    return f"{plan.values[name].value} ({plan.values[name].origin})" if name in plan.values else "none"


def _setting(plan: PlanContents, name: str) -> str:
    one = plan.setting_values.get(name)
    return "none" if one is None else f"{one.value!r} ({one.origin})"


def _modes(here: PlannedMode, there: PlannedMode) -> Iterator[Difference]:
    for key in ("dedicated", "backend", "timeout", "cpu", "options"):
        mine, theirs = getattr(here, key), getattr(there, key)
        if _exactly(mine) != _exactly(theirs):
            yield Difference(f"{key} of mode {here.name}", str(mine), str(theirs))
    if here.groups == there.groups:
        return
    if any(max(one.groups.sizes(), default=0) > COMPARED for one in (here, there)):
        yield Difference(f"groups of mode {here.name}", repr(here.groups), repr(there.groups))
        return
    for index, (one, other) in enumerate(zip_longest(here.groups, there.groups)):
        if one != other:
            yield Difference(f"group {index} of mode {here.name}", _group(one), _group(other))
            return


def _exactly(value: object) -> str:
    """Return a value as text that differs wherever JSON does: 1, 1.0 and True are equal in Python."""
    return str(dict(sorted(value.items())) if isinstance(value, Mapping) else value)


def _group(group: tuple[int, ...] | None) -> str:
    if group is None:
        return "missing"
    return str(group) if len(group) <= 8 else f"({', '.join(map(str, group[:6]))}, … {len(group)} ranks)"
