"""The planner: settings and plugins to a plan, without torch, equal on every rank."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

from pgregistry.errors import ConfigError, PluginError, Problems
from pgregistry.layouts.groups import laid_out
from pgregistry.layouts.placement import place
from pgregistry.planning.declarations import Declarations, DeclaredMode, declare
from pgregistry.planning.explanation import log_axes, log_extra, log_modes
from pgregistry.planning.mesh import Mesh, checked_groups
from pgregistry.planning.nesting import check_order, nest
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.planning.references import label
from pgregistry.planning.sizes.cuts import Cuts
from pgregistry.planning.sizes.world import World, read_world
from pgregistry.registry.declared_settings import check_clashes, declared_settings
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import InstalledPlugin, Plugin, plugin_error, without
from pgregistry.registry.requirements import check_requirements
from pgregistry.settings.launchers.launcher import log_launch
from pgregistry.settings.merge import Settings
from pgregistry.settings.named import MODE_SETTINGS, OPTION, DeclaredNames, read_named
from pgregistry.settings.options import RESERVED
from pgregistry.values import LARGEST, is_plain_option, shown, whole_number
from pgregistry.vocabulary import DOMAIN

#: The plugin of the modes in `extra=`.
EXTRA = Plugin("extra")


class Planner:
    """Makes the plan of a world from the settings and plugins of a registry.

    >>> planner = Planner.read(8, {"tensor": 2}, environ={})
    >>> planner.declarations.axes["tensor"].name, planner.plan()["tensor"].groups
    ('tensor', <4 groups: (0, 1), (2, 3), (4, 5), (6, 7)>)

    Attributes:
        registry: The plugins, with the settings in `registry.settings`.
        world_size: How many ranks there are.
        problems: The errors so far. Each step raises them together at its end.
    """

    def __init__(self, world_size: int, registry: Registry, problems: Problems, backend: str | None = None) -> None:
        self.registry = registry
        self.problems = problems
        self.world_size = world_size
        self._settings = registry.settings
        self._backend = backend or (run.value if (run := registry.settings.run.get("backend")) else None)
        self._ranks = self._settings.within.value if self._settings.within else None

    @classmethod
    def read(
        cls,
        world_size: int,
        keywords: Mapping[str, Any],
        *,
        command_line: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        installed: tuple[InstalledPlugin, ...] | None = None,
        backend: str | None = None,
        problems: Problems | None = None,
        origin: str = "keyword",
        settings: Settings | None = None,
    ) -> Planner:
        """Read the settings from every source, load the plugins, and return the planner of both.

        Args:
            world_size: How many ranks there are.
            keywords: The keywords of `plan`.
            command_line: The same names as typed by the user.
            environ: Environment variables; None for those of this process.
            installed: The installed plugins; None to discover them.
            backend: The run's default backend, for `pgregistry_process_group_options`.
            problems: Earlier errors, to raise together with those of the plan.
            origin: What errors and the plan call the keywords.
            settings: The settings, if they are read already.

        Raises:
            ConfigError: if `world_size` is not the size of a world.
        """
        problems = problems or Problems()
        if not 1 <= (number := whole_number(world_size) or 0) <= LARGEST:
            rule = f"must be a whole number from 1 to {LARGEST}"
            problems.add(ConfigError(f"world_size = {shown(world_size)} {rule}."))
            problems.raise_any()
        log_launch(os.environ if environ is None else environ)
        sources = {"keywords": keywords, "command_line": command_line, "environ": environ, "origin": origin}
        registry = Registry.read(problems, installed, settings, world_size=number, **sources)
        return cls(number, registry, problems, backend)

    @cached_property
    def declarations(self) -> Declarations:
        """The axes, splits and modes of all plugins; what is given by name is read as they declare it."""
        self.registry.check(self.problems)
        check_requirements(self._settings, self.problems)
        if any(status.error for status in self.registry.statuses):
            self.problems.raise_any()  # the declarations of the failed plugins are unknown
        log_extra(self._settings.extra)
        with self.problems.raising_collected():  # what a hook that failed would have declared is unknown
            settings, modes = declared_settings(self.registry, self.problems), tuple(self._declared_modes())
        declarations = declare(modes, self.registry, self.problems)
        log_modes(declarations)
        self._check_reserved(declarations)
        owners = {name: str(owner) for name, owner in declarations.owners.items()} if settings else {}
        names = DeclaredNames(
            sizes=declarations.size_names(),
            modes=[one.mode.name for one in declarations.modes],
            settings={name: (one.setting, str(one)) for name, one in settings.items()},
            off=self.registry.off,
            missing=self.registry.missing,
        )
        check_clashes(settings, owners, names.modes, self.problems)
        self._settings = read_named(self._settings, names, self.problems)
        check_order(declarations, self._settings.order, self.problems)
        return declarations

    @property
    def settings(self) -> Settings:
        """Return the settings; what is given by name is read when the declarations are known."""
        return self._settings

    def plan(self) -> Plan:
        """Return the plan.

        Raises:
            ConfigError: with everything that is wrong with the values, and the valid ones.
            PluginError: if a plugin does not load, or its declarations are invalid.
        """
        world = self.world()
        order = nest(self.declarations, world.axes, self._settings.order, self.problems)
        log_axes(order, world.axes, self.declarations, self._settings.order)
        self.problems.raise_any()
        hosts, (cuts, planned) = world.hosts, self._nested(world, order)
        plan = Plan(
            self.world_size,
            order,
            cuts.values,
            self._ranks,
            tuple(map(self._with_options, planned)),
            hosts.each,
            hosts.ranks,
            hosts.hosts_per_domain,
            setting_values=self._settings.values,
            off=self.registry.off,
        )
        self._check_plan(plan)
        self.problems.raise_any()
        return plan

    def world(self) -> World:
        """Return the hosts and the sizes of axes, which hold in every nesting order.

        Raises:
            ConfigError: if sizes do not fit the world.
            PluginError: if a plugin does not load, or its declarations are invalid.
        """
        declarations = self.declarations
        if self._settings.unreadable:
            self.problems.raise_any()
        with self.problems.collecting():
            world = read_world(self.world_size, declarations, self._settings)
        self.problems.raise_any()
        return world

    def modes_in(self, order: Sequence[str], world: World) -> tuple[PlannedMode, ...]:
        """Return the modes in another nesting order, as far as their groups go: without backend options and checks.

        >>> planner = Planner.read(8, {"tensor": 2, "only": ["data", "tensor"]}, environ={})
        >>> [mode.groups[0] for mode in planner.modes_in(["tensor", "data"], planner.world())]
        [(0, 1, 2, 3), (0, 4)]

        Args:
            order: Every axis larger than 1, outermost first.
            world: What `world` returned.

        Raises:
            ConfigError: if the sizes cannot be cut in this order.
            PluginError: if a mode cannot be planned in it.
        """
        trial = copy(self)
        trial.problems = Problems()
        return trial._nested(world, (*order, *(axis for axis in self.declarations.axes if axis not in order)))[1]

    def _nested(self, world: World, order: tuple[str, ...]) -> tuple[Cuts, tuple[PlannedMode, ...]]:
        """Return the factors of axes in this order, and the modes over them."""
        declarations = self.declarations
        cuts = Cuts(world.positions, declarations, order, world.axes, self._settings, world.hosts)
        cuts.check(self.problems)
        self.problems.raise_any()
        planned = tuple(self._planned_modes(declarations, Mesh(cuts, declarations, self._settings.values)))
        self.problems.raise_any()
        return cuts, planned

    def _declared_modes(self) -> Iterator[DeclaredMode]:
        for plugin in self.registry.active:
            if plugin.name in RESERVED:
                rule = "has the name of a parameter of plan() or init(), which is reserved"
                self.problems.add(plugin_error(f"{plugin} {rule}.", plugin))
            with self.problems.collecting():
                yield from [DeclaredMode(mode, plugin) for mode in self.registry.modes(plugin)]
        yield from (DeclaredMode(mode, EXTRA) for mode in self._settings.extra)

    def _check_reserved(self, declarations: Declarations) -> None:
        for name, owner in declarations.owners.items():
            if name in RESERVED:
                rule = f"size {name!r} has the name of a parameter of plan() or init(), which is reserved"
                self.problems.add(plugin_error(f"{owner}: {rule}.", owner.plugin))

    def _planned_modes(self, declarations: Declarations, mesh: Mesh) -> Iterator[PlannedMode]:
        for one in declarations.modes:
            with self.problems.collecting():
                try:
                    yield self._planned(one, mesh)
                except PluginError as error:
                    if error.plugin:
                        raise
                    raise plugin_error(str(error), one.plugin) from error

    def _planned(self, one: DeclaredMode, mesh: Mesh) -> PlannedMode:
        mode, given, mesh = one.mode, self._settings.modes.get(one.mode.name, {}), mesh.fresh()
        layout = mesh.layout(mode) if mode.groups is None else None
        groups = checked_groups(one, mesh) if layout is None else laid_out(layout)
        over = tuple(label(reference) for reference in mode.over or ())
        settings = {key: given[key].value if key in given else getattr(mode, key) for key in MODE_SETTINGS}
        settings |= {"where": mode.where, "options": mode.options}
        settings["origins"] = {key: value.origin for key, value in given.items()}
        settings |= {"needs_hosts": bool(levels := mesh.levels(mode)), "needs_domains": DOMAIN in levels}
        return PlannedMode(mode.name, one.plugin, over, layout, place(groups, self._ranks), **settings)

    def _with_options(self, mode: PlannedMode) -> PlannedMode:
        """Return a mode with its backend options: the run's over the hook's over its own, key by key."""
        hook, own, answered = "pgregistry_process_group_options", mode.options, dict[str, object]()
        giver: Plugin | None = None
        for plugin, given in self.registry.call_all(hook, mode=mode.name, backend=mode.backend or self._backend):
            if given is None:
                continue
            if giver is not None:
                text = f"Both {giver} and {plugin} give process group options for mode {mode.name!r}"
                raise plugin_error(f"{text}; run with {without(giver, plugin)}.", giver, plugin)
            if not isinstance(given, Mapping) or not all(is_plain_option(*option) for option in given.items()):
                rule = "it must return a mapping of names to plain values"
                raise plugin.error(f"{hook} returned {shown(given)}; {rule}.")
            giver, answered = plugin, dict(given)
        table = self._settings.modes.get(mode.name, {})
        run = {key.removeprefix(OPTION): one.value for key, one in table.items() if key.startswith(OPTION)}
        if not answered and not run:
            return mode
        said = {**own, **run} if answered else None
        return replace(mode, options={**own, **answered, **run}, said_options=said)

    def _check_plan(self, plan: Plan) -> None:
        """Add each reason of a plugin why the plan cannot work."""
        for plugin, reasons in self.registry.call_all("pgregistry_check", plan=plan):
            sentences = [reasons] if isinstance(reasons, str) else [] if reasons is None else reasons
            texts = isinstance(sentences, list) and all(isinstance(one, str) and one.strip() for one in sentences)
            for reason in sentences if texts else ():
                self.problems.add(ConfigError(f"{plugin}: {reason}", plugin=plugin.name))
            if not texts:
                text = f"pgregistry_check returned {shown(reasons)}; it must yield one sentence for each reason."
                self.problems.add(plugin.error(text))
