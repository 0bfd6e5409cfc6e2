"""A plugin under examination: what it declares, and the plans in which it is looked at."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product, zip_longest
from math import prod
from typing import Any, Final

from pgregistry.errors import ConfigError, PluginError, Problems, did_you_mean
from pgregistry.layouts.layout import divisors
from pgregistry.planning.declarations import walk
from pgregistry.planning.planner import make
from pgregistry.planning.plans.plan import Plan
from pgregistry.registry.discovery import Found, discover
from pgregistry.registry.manager import Registry
from pgregistry.settings.merge import read_settings
from pgregistry.testing.case import Case, Fault, at
from pgregistry.testing.ranks.local_ranks import run_ranks
from pgregistry.vocabulary import REST, Axis, Mode, Part

#: One rank, primes, and worlds with many divisors.
WORLDS: Final = (1, 2, 3, 5, 7, 8, 12, 24, 96)
#: How many plans are looked at for each world.
MOST: Final = 20


def _nothing(mode: str, plan: Plan) -> None:
    """No groups that an author worked out."""


@dataclass(frozen=True)
class Subject:
    """One plugin, and how to look at it.

    Args:
        plugin: Its name.
        sizes: Values to try for each size, in all combinations; None to find some.
        worlds: The world sizes to plan.
        only: The plugins to be on, for one that cannot live beside all others.
        partial: The modes that may leave ranks out; None for those with `at` or `groups`.
        expected: The groups of a mode as its author works them out, or None.
        run_ranks: Starts local ranks.
    """

    plugin: str
    sizes: Mapping[str, Sequence[int]] | None = None
    worlds: Sequence[int] = WORLDS
    only: Sequence[str] | None = None
    partial: Collection[str] | None = None
    expected: Callable[[str, Plan], Iterable[Sequence[int]] | None] = _nothing
    run_ranks: Callable[..., list[Any]] = run_ranks

    @cached_property
    def found(self) -> tuple[Found, ...]:
        """What is installed; each plan would look again."""
        found = discover()
        names = {one.plugin.name for one in found}
        if self.plugin not in names:
            raise ConfigError(f"No plugin is called {self.plugin!r}. {did_you_mean(self.plugin, names)}")
        return found

    @cached_property
    def switches(self) -> dict[str, list[str]]:
        """The plugin on, and those off that do not load, for which it is not to blame."""
        on = {"enable": [self.plugin], **({} if self.only is None else {"only": list(self.only)})}
        broken = [one.found.plugin.name for one in self._load(on).statuses if one.error]
        return {**on, "disable": [name for name in broken if name != self.plugin]}

    @cached_property
    def registry(self) -> Registry:
        """The plugins that are on."""
        return self._load(self.switches)

    def _load(self, keywords: Mapping[str, Any]) -> Registry:
        return Registry.load(read_settings(Problems(), keywords=keywords, environ={}), self.found)

    @cached_property
    def optional(self) -> bool:
        """Whether the plugin is off until enabled."""
        return any(one.optional for one in self.found if one.plugin.name == self.plugin)

    @cached_property
    def declared(self) -> dict[str, list[Mode]]:
        """What each plugin that is on declares."""
        return {plugin.name: self.registry.modes(plugin) for plugin in self.registry.active}

    @cached_property
    def modes(self) -> dict[str, Mode]:
        """The modes of the plugin, by name."""
        return {mode.name: mode for mode in self.declared.get(self.plugin, [])}

    @cached_property
    def own(self) -> dict[str, Axis | Part]:
        """The sizes that the plugin declares."""
        return sized(self.modes.values())

    @cached_property
    def others(self) -> dict[str, Axis | Part]:
        """The sizes that the other plugins declare."""
        return sized(mode for plugin, modes in self.declared.items() if plugin != self.plugin for mode in modes)

    @cached_property
    def varied(self) -> list[str]:
        """The sizes that matter to it: its own, or else those that its modes are over."""
        if self.own:
            return sorted(self.own)
        items = [item for mode in self.modes.values() for item in walk(mode.declares)]
        named = {item for item in items if isinstance(item, str)}
        listed = any(mode.groups for mode in self.modes.values())
        return sorted(named & self.others.keys()) or (sorted(self.others) if listed else [])

    def plan(self, world: int, keywords: Mapping[str, Any]) -> Plan:
        """A plan with the plugin on, whatever the environment says."""
        return make(world, self.keywords(world, keywords), environ={}, found=self.found).plan

    def keywords(self, world: int, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """All keywords of a plan with the plugin on; hosts have up to 4 ranks."""
        host = max(size for size in divisors(world) if size <= 4)
        return {**self.switches, "ranks_per_host": host, **sizes}

    def case(self, world: int, sizes: Mapping[str, Any]) -> Case | None:
        """The plan at these sizes; None where they do not fit.

        Raises:
            PluginError: if a plugin is at fault. Two axes of which neither lies inside the other
                are no fault, for the user can say their order.
        """
        try:
            return Case(world, sizes, self.plan(world, sizes))
        except ConfigError:
            return None
        except PluginError as error:
            axes = {**self.others, **self.own}
            names = sorted(name for name, item in axes.items() if isinstance(item, Axis))
            ordered = {**sizes, "order": sorted(names, key=lambda name: _default(axes[name]) is not REST)}
            try:
                return Case(world, ordered, self.plan(world, ordered))
            except ConfigError:
                raise PluginError(f"{at(world, sizes)}: {error}") from error
            except PluginError as fault:
                raise PluginError(f"{at(world, sizes)}: {fault}") from fault

    def look_at(self, world: int) -> tuple[list[Case], list[Fault]]:
        """Plans of one world at different sizes, the defaults first, and the sizes at which a plugin fails."""
        cases: list[Case] = []
        faults: list[Fault] = []
        tried: list[dict[str, int]] = []
        for sizes in self._to_try(world):
            if sizes in tried or len(cases) + len(faults) >= MOST:
                continue
            tried.append(sizes)
            try:
                if case := self.case(world, sizes):
                    cases.append(case)
            except PluginError as error:
                faults.append(Fault(world, sizes, error))
        return cases, faults

    @cached_property
    def cases(self) -> list[Case]:
        """Plans of all worlds."""
        return [case for cases, _ in self._all for case in cases]

    @cached_property
    def faults(self) -> list[Fault]:
        """Where a plugin fails, in all worlds."""
        return [fault for _, faults in self._all for fault in faults]

    @cached_property
    def _all(self) -> list[tuple[list[Case], list[Fault]]]:
        return [self.look_at(world) for world in self.worlds]

    @cached_property
    def needing(self) -> list[str]:
        """The plugin and those that are over what it declares, which cannot be on without it."""
        needing, gone = [self.plugin], set(self.own)
        while more := [name for name in self.declared if name not in needing and gone & self._names(name)]:
            needing += more
            gone |= {size for name in more for size in sized(self.declared[name])}
        return needing

    def _names(self, plugin: str) -> set[str]:
        """What a plugin refers to by name."""
        items = [item for mode in self.declared[plugin] for item in walk(mode.declares)]
        sizes = [
            item.size if isinstance(item, Axis) else item.split.size for item in items if isinstance(item, Axis | Part)
        ]
        return {name for name in (*items, *sizes) if isinstance(name, str)}

    def beside(self, world: int) -> Iterator[dict[str, int]]:
        """Sizes of other plugins to try: none, then a few at once, which fit a world together."""
        yield {}
        yield from self._at_once(world, sorted(self.others), 8)

    def _to_try(self, world: int) -> Iterator[dict[str, int]]:
        if self.sizes is not None:
            yield from (dict(zip(self.sizes, values, strict=True)) for values in product(*self.sizes.values()))
            return
        yield {}
        sizes = (*divisors(world)[1:7], 3, 5, world + 1)  # not all divide: a ragged end may take them
        alone = ({name: size} for size in sizes for name in self.varied)
        at_once = self._at_once(world, sorted({*self.varied, *self.others}), 60)
        yield from (one for pair in zip_longest(alone, at_once) for one in pair if one is not None)

    def _at_once(self, world: int, names: Sequence[str], count: int) -> Iterator[dict[str, int]]:
        """Several sizes larger than 1 at once, always the same ones for the same plugin and world."""
        sized, sizes = {**self.others, **self.own}, divisors(world)[1:5]
        names = [name for name in names if _default(sized[name]) is not REST]
        chance = random.Random(f"{self.plugin} {world}")
        for _ in range(count if names and sizes else 0):
            chosen = chance.sample(names, k=min(len(names), chance.randint(2, 4)))
            tried = {name: chance.choice(sizes) for name in chosen}
            if world % prod(tried.values()) == 0:
                yield tried


def sized(modes: Iterable[Mode]) -> dict[str, Axis | Part]:
    """The axes and named parts that modes declare."""
    found: dict[str, Axis | Part] = {}
    for mode in modes:
        for item in walk(mode.declares):
            if isinstance(item, Axis):
                found[item.name] = item
            elif isinstance(item, Part):
                found.update({part.name: part for part in (item, item.other) if part.name})
    return found


def _default(item: Axis | Part) -> object:
    return item.size if isinstance(item, Axis) else item.split.size
