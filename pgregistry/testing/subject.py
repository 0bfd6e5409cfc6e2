"""A plugin under test: its declarations, and the plans that are made with it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product, zip_longest
from math import prod
from typing import Any, Final

from pgregistry.errors import ConfigError, PgregistryError, PluginError, Problems, did_you_mean, listing
from pgregistry.layouts.factors import divisors
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans.plan import Plan
from pgregistry.planning.references import declared_sizes, default_size, walk
from pgregistry.registry.advice import Owners, declares
from pgregistry.registry.discovery import discover, with_named
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import InstalledPlugin
from pgregistry.settings.merge import ConfigValue, Settings
from pgregistry.testing.case import Case, Refused, at, other_values
from pgregistry.testing.ranks.local_ranks import run_ranks
from pgregistry.vocabulary import REST, Axis, Mode, Part, Setting

#: World sizes to plan: one rank, primes, and numbers with many divisors.
WORLDS: Final = (1, 2, 3, 5, 7, 8, 12, 24, 96)
#: Number of plans for each world size.
MOST: Final = 20


def _no_expectation(mode: str, plan: Plan) -> None:
    """Return no groups: the author did not work any out."""


@dataclass(frozen=True)
class Subject:
    """One plugin, and how to test it.

    Args:
        plugin: Its name.
        sizes: Values to try for each size, in all combinations. None chooses some.
        worlds: The world sizes to plan.
        only: The plugins to be on, for a plugin that cannot be on beside all others.
        enable: Other plugins to be on that are off when installed.
        disable: Other plugins to be off.
        plugins: Plugins that are not installed, as `plugins=` of `plan` names them; this one may be among them.
        partial: The modes that may leave ranks out. None allows it to modes with `at`, `where` or `groups`.
        expected: Returns the groups of a mode as its author worked them out, or None.
        run_ranks: Starts local ranks.
    """

    plugin: str
    sizes: Mapping[str, Sequence[int]] | None = None
    worlds: Sequence[int] = WORLDS
    only: Sequence[str] | None = None
    enable: Sequence[str] = ()
    disable: Sequence[str] = ()
    plugins: Sequence[str] = ()
    partial: Collection[str] | None = None
    expected: Callable[[str, Plan], Iterable[Sequence[int]] | None] = _no_expectation
    run_ranks: Callable[..., list[Any]] = run_ranks

    @cached_property
    def found(self) -> tuple[InstalledPlugin, ...]:
        """Return the installed plugins, searched once for all plans."""
        named = Settings(plugins=tuple(ConfigValue(one, "keyword") for one in self.plugins))
        found = with_named(discover(), named, Problems())
        names = {one.plugin.name for one in found}
        if self.plugin not in names:
            hint = Owners(found).of(self.plugin) or did_you_mean(self.plugin, names)
            if owners := [repr(one) for one in self._owners(self.plugin)]:
                hint = f"It is a mode of plugin {listing(owners)}; check that one."
            raise ConfigError(f"No plugin is called {self.plugin!r}. {hint}")
        return found

    def _owners(self, mode: str) -> Iterator[str]:
        """Yield the names of the plugins that declare a mode; of one that is off only its source is read."""
        on = {"enable": [*self.enable], "plugins": [*self.plugins]}
        registry = Registry.read(Problems(), keywords=on, environ={})
        for status in registry.statuses:
            plugin, modes = status.installed.plugin, list[Mode]()
            if status.name == "active":
                with suppress(PgregistryError):
                    modes = registry.modes(plugin)
            if mode in [one.name for one in modes] or (status.name == "disabled" and declares(status.installed, mode)):
                yield plugin.name

    @cached_property
    def installed(self) -> tuple[InstalledPlugin, ...]:
        """Return those of `found` that are installed; the others are found where they are named."""
        return tuple(one for one in self.found if one.named_by is None)

    @cached_property
    def settings(self) -> list[Setting]:
        """Return the settings that the plugin declares."""
        return [
            one
            for plugin in self.registry.active
            if plugin.name == self.plugin
            for one in self.registry.settings_of(plugin)
        ]

    @cached_property
    def switches(self) -> dict[str, list[str]]:
        """Return the switches that turn the plugin on, and others off that do not load or cannot declare."""
        on = {"enable": [self.plugin, *self.enable], **({} if self.only is None else {"only": list(self.only)})}
        on |= {"plugins": list(self.plugins)} if self.plugins else {}
        on["disable"] = [name for name in self.disable if name != self.plugin]
        registry = self._load(on)
        broken = [one.installed.plugin.name for one in registry.statuses if one.error]
        broken += [one.name for one in registry.active if one.name != self.plugin and not registry.declares(one)]
        return {**on, "disable": [*on["disable"], *(name for name in broken if name != self.plugin)]}

    @cached_property
    def registry(self) -> Registry:
        """Return the registry of the plugins that are on."""
        return self._load(self.switches)

    def _load(self, keywords: Mapping[str, Any]) -> Registry:
        return Registry.read(Problems(), keywords=keywords, environ={}, found=self.installed)

    @cached_property
    def declared(self) -> dict[str, list[Mode]]:
        """Return the modes of each plugin that is on."""
        return {plugin.name: self.registry.modes(plugin) for plugin in self.registry.active}

    @cached_property
    def modes(self) -> dict[str, Mode]:
        """Return the modes of the plugin, by name."""
        return {mode.name: mode for mode in self.declared.get(self.plugin, [])}

    @cached_property
    def own(self) -> dict[str, Axis | Part]:
        """Return the sizes that the plugin declares."""
        return declared_sizes(self.modes.values())

    @cached_property
    def others(self) -> dict[str, Axis | Part]:
        """Return the sizes that the other plugins declare."""
        modes = (mode for plugin, modes in self.declared.items() if plugin != self.plugin for mode in modes)
        return declared_sizes(modes)

    @cached_property
    def varied(self) -> list[str]:
        """Return the sizes to vary: those of the plugin, or if it has none those that its modes are over."""
        if self.own:
            return sorted(self.own)
        items = [item for mode in self.modes.values() for item in walk(mode.declares)]
        named = {item for item in items if isinstance(item, str)}
        listed = any(mode.groups for mode in self.modes.values())
        return sorted(named & self.others.keys()) or (sorted(self.others) if listed else [])

    def plan(self, world: int, keywords: Mapping[str, Any]) -> Plan:
        """Return a plan with the plugin on; the environment is not read."""
        return Planner.read(world, self.keywords(world, keywords), environ={}, installed=self.installed).plan()

    def keywords(self, world: int, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """Return all keywords of a plan with the plugin on, hosts of up to 4 ranks, and domains of up to 2 hosts."""
        host = max(size for size in divisors(world) if size <= 4)
        domain = max(size for size in divisors(world // host) if size <= 2)
        return {**self.switches, "ranks_per_host": host, "hosts_per_domain": domain, **sizes}

    def case(self, world: int, sizes: Mapping[str, Any]) -> Case | Refused:
        """Return the plan at these sizes, or the error.

        Two axes of which neither lies inside the other are not a fault, since the user can give their order.
        """
        try:
            return Case(world, sizes, self.plan(world, sizes))
        except ConfigError as error:
            return Refused(world, sizes, error)
        except PluginError as error:
            axes = {**self.others, **self.own}
            names = sorted(name for name, item in axes.items() if isinstance(item, Axis))
            ordered = {**sizes, "order": sorted(names, key=lambda name: default_size(axes[name]) is not REST)}
            try:
                return Case(world, ordered, self.plan(world, ordered))
            except PgregistryError as second:
                cause = second if isinstance(second, PluginError) else error
                fault = PluginError(f"{at(world, sizes)}: {cause}")
                fault.__cause__ = cause
                return Refused(world, sizes, fault)

    def _look_at(self, worlds: Iterable[int]) -> list[Case | Refused]:
        return [one for world in worlds for one in islice(self._plans(world), MOST)]

    def _plans(self, world: int) -> Iterator[Case | Refused]:
        """Yield plans of one world at different sizes, the defaults first, and the sizes at which a plugin fails."""
        tried: list[dict[str, Any]] = []
        for sizes in self._to_try(world):
            if sizes not in tried:
                tried.append(sizes)
                one = self.case(world, sizes)
                if isinstance(one, Case) or isinstance(one.error, PluginError):
                    yield one

    @cached_property
    def _all(self) -> list[Case | Refused]:
        return self._look_at(self.worlds)

    @cached_property
    def cases(self) -> list[Case]:
        """Return the plans of all worlds."""
        return [one for one in self._all if isinstance(one, Case)]

    @cached_property
    def faults(self) -> list[Refused]:
        """Return the sizes at which a plugin fails, in all worlds."""
        return [one for one in self._all if isinstance(one, Refused)]

    def case_to_build(self) -> Case | None:
        """Return the case of a small world in which most modes of the plugin have groups of several ranks."""

        def score(case: Case) -> tuple[int, int]:
            largest = [max(case.plan[name].groups.sizes(), default=0) for name in self.modes if name in case.plan]
            return sum(size > 1 for size in largest), sum(1 < size < case.world for size in largest)

        for worlds in ((4, 8), (16,), (2, 3, 6, 1)):
            if cases := [one for one in self._look_at(worlds) if isinstance(one, Case)]:
                return max(cases, key=score)
        return None

    @cached_property
    def needing(self) -> list[str]:
        """Return the plugin and those that refer to its sizes, which cannot be on without it."""
        needing, gone = [self.plugin], set(self.own)
        while more := [name for name in self.declared if name not in needing and gone & self._names(name)]:
            needing += more
            gone |= {size for name in more for size in declared_sizes(self.declared[name])}
        return needing

    def _names(self, plugin: str) -> set[str]:
        """Return the names that a plugin refers to."""
        items = [item for mode in self.declared[plugin] for item in walk(mode.declares)]
        sizes = [default_size(item) for item in items if isinstance(item, Axis | Part)]
        return {name for name in (*items, *sizes) if isinstance(name, str)}

    def beside(self, world: int) -> Iterator[dict[str, int]]:
        """Yield sizes of other plugins to try: none, then several at once that fit the world together."""
        yield {}
        yield from self._at_once(world, sorted(self.others), 8)

    def _to_try(self, world: int) -> Iterator[dict[str, Any]]:
        if self.sizes is not None:
            yield from (dict(zip(self.sizes, values, strict=True)) for values in product(*self.sizes.values()))
            return
        yield {}
        yield from ({one.name: value} for one in self.settings for value in other_values(one))
        sizes = (*divisors(world)[1:7], 3, 5, world + 1)  # some do not divide: a ragged split takes them
        alone = ({name: size} for size in sizes for name in self.varied)
        at_once = self._at_once(world, sorted({*self.varied, *self.others}), 60)
        yield from (one for pair in zip_longest(alone, at_once) for one in pair if one is not None)

    def _at_once(self, world: int, names: Sequence[str], count: int) -> Iterator[dict[str, int]]:
        """Yield several sizes larger than 1 at once, always the same for one plugin and world."""
        sized, sizes = {**self.others, **self.own}, divisors(world)[1:5]
        names = [name for name in names if default_size(sized[name]) is not REST]
        chance = random.Random(f"{self.plugin} {world}")
        for _ in range(count if names and sizes else 0):
            chosen = chance.sample(names, k=min(len(names), chance.randint(2, 4)))
            tried = {name: chance.choice(sizes) for name in chosen}
            if world % prod(tried.values()) == 0:
                yield tried
