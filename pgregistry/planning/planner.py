"""From settings and plugins to a plan: pure Python, no torch, the same on every rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgregistry.errors import ConfigError, PgregistryError, PluginError, Problems, did_you_mean
from pgregistry.layouts.groups import laid_out
from pgregistry.layouts.placement import place
from pgregistry.planning.answers import check_plan, process_group_options
from pgregistry.planning.declarations import Declarations, Declared, declare, label
from pgregistry.planning.explanation import log_axes, log_extra, log_modes
from pgregistry.planning.listed import listed
from pgregistry.planning.mesh import Mesh
from pgregistry.planning.nesting import check_order, nest
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.planning.sizes import resolve
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import InstalledPlugin, Plugin
from pgregistry.registry.requirements import check_requirements
from pgregistry.settings.merge import Settings, read_settings
from pgregistry.settings.options import RESERVED, split_parameters
from pgregistry.settings.tracing import tracing
from pgregistry.values import LARGEST, shown, whole_number
from pgregistry.vocabulary import Mode


def plan(
    world_size: int,
    *,
    order: Sequence[str] | None = None,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    only: Sequence[str] | None = None,
    config: str | None = None,
    extra: Iterable[Mode] = (),
    within: Iterable[int] | None = None,
    ranks_per_host: int | None = None,
    require: Sequence[str] = (),
    **sizes: Any,
) -> Plan:
    """Plan every group of every mode, for any world size, on any machine, without torch.

    >>> import pgregistry
    >>> pgregistry.plan(8, tensor=2, pipe=2)["pipe"].groups
    <4 groups: (0, 2), (1, 3), (4, 6), (5, 7)>

    Args:
        world_size: How many ranks there are.
        order: The axes, outermost first, instead of the nesting that plugins declare.
        enable: Plugins to switch on beside those that are on when installed.
        disable: Plugins to leave out; they are not imported.
        only: The plugins to use, and no others.
        config: A TOML file with the same names.
        extra: Modes that no plugin declares.
        within: Plan on these ranks only, in this order; the sizes divide their number.
        ranks_per_host: How many ranks one host has, for modes that ask.
        require: Distributions that must be installed, as `"pgregistry-expert>=1"`.
        **sizes: Sizes by name (`tensor=2`), or `zero1={"size": 2, "dedicated": True}` with
            any of size, backend, timeout (seconds), cpu and dedicated.

    Raises:
        ConfigError: with everything that is wrong with the values, and what would be right.
        PluginError: if a plugin does not load or declares what cannot be.
    """
    keywords, _ = split_parameters(locals())
    with tracing():
        return make(world_size, keywords).plan


@dataclass(frozen=True, slots=True)
class Made:
    """A plan and the plugins it was made with."""

    plan: Plan
    registry: Registry


def make(
    world_size: int,
    keywords: Mapping[str, Any],
    *,
    command_line: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    found: tuple[InstalledPlugin, ...] | None = None,
    backend: str | None = None,
    problems: Problems | None = None,
    mode: str | None = None,
    rank: int | None = None,
    origin: str = "keyword",
) -> Made:
    """Make a plan from every source of settings.

    Args:
        world_size: How many ranks there are.
        keywords: What `plan` takes by keyword.
        command_line: The same names as typed by the user.
        environ: Environment variables; None for those of this process.
        found: Installed plugins; None to look.
        backend: The run's default backend, told to `pgregistry_process_group_options`.
        problems: What was wrong already, to be said together with the rest.
        mode: A mode that must be there, as the command line says it.
        rank: A rank that must be there, likewise.
        origin: What errors and the plan call the keywords.
    """
    problems = problems or Problems()
    world_size = _world_size(world_size, problems)
    settings = read_settings(
        problems,
        keywords=keywords,
        command_line=command_line,
        environ=environ,
        origin=origin,
        world_size=world_size,
    )
    registry = Registry.load(settings, found)
    registry.check(problems)
    check_requirements(settings, problems)
    if any(status.error for status in registry.statuses):
        problems.raise_any()  # what the failed plugins declare is not known, so nothing more can be
    ranks = settings.within.value if settings.within else None
    log_extra(settings.extra)
    declared = tuple(_declared(registry, settings, problems))
    declarations = declare(declared, registry.off, problems)
    log_modes(declarations)
    _check_names(declarations, registry, settings, problems)
    _check_wanted(declarations, world_size, mode, rank, problems)
    check_order(declarations, settings.order, problems)
    if settings.unreadable:
        problems.raise_any()
    positions = len(ranks) if ranks is not None else world_size
    sizes = resolve(positions, declarations, settings, problems)
    order = nest(declarations, {name: size.value for name, size in sizes.items()}, settings.order, problems)
    log_axes(order, sizes, declarations, settings.order)
    problems.raise_any()
    mesh = Mesh(positions, declarations, order, sizes, settings)
    for error in mesh.check_splits():
        problems.add(error)
    problems.raise_any()
    planned = []
    for one in declarations.modes:
        try:
            planned.append(_planned(one, mesh, settings, ranks))
        except PgregistryError as error:
            problems.add(error)
    problems.raise_any()
    options = process_group_options(registry, planned, backend)
    result = Plan(
        world_size=world_size,
        order=order,
        values=sizes,
        ranks=ranks,
        planned=tuple(replace(mode, options=options.get(mode.name, {})) for mode in planned),
    )
    check_plan(registry, result, problems)
    problems.raise_any()
    return Made(result, registry)


def _world_size(given: object, problems: Problems) -> int:
    number = whole_number(given)
    if number is None or not 1 <= number <= LARGEST:
        problems.add(
            ConfigError(f"world_size = {shown(given)} is not a world; it takes a whole number from 1 to {LARGEST}.")
        )
        problems.raise_any()
    return number or 1


def _declared(registry: Registry, settings: Settings, problems: Problems) -> Iterable[Declared]:
    extra = Plugin("extra")
    for plugin in (*registry.active, *([extra] if settings.extra else [])):
        if plugin.name in RESERVED and plugin != extra:
            problems.add(PluginError(f"{plugin} is called like a parameter of plan() or init(), which is reserved."))
        try:
            modes = list(settings.extra) if plugin == extra else registry.modes(plugin)
        except PgregistryError as error:
            problems.add(error)
            continue
        for mode in modes:
            yield Declared(mode, plugin)


def _check_names(declarations: Declarations, registry: Registry, settings: Settings, problems: Problems) -> None:
    sizes, modes = declarations.sized(), [one.mode.name for one in declarations.modes]
    for name, owner in declarations.owners.items():
        if name in RESERVED:
            problems.add(PluginError(f"{owner}: size {name!r} is a parameter of plan() or init(), so it is reserved."))
    for name, size in settings.sizes.items():
        if name not in sizes:
            problems.add(ConfigError(_unknown(f"size {name!r} ({size.origin})", name, sizes, registry)))
    for name, origin in settings.mentioned.items():
        if name not in modes and name not in sizes:
            problems.add(ConfigError(_unknown(f"size {name!r} ({origin})", name, sizes, registry)))
    for name, table in settings.modes.items():
        if name not in modes:
            origin = next(iter(table.values())).origin
            problems.add(ConfigError(_unknown(f"mode {name!r} ({origin})", name, modes, registry)))


def _check_wanted(
    declarations: Declarations, world_size: int, mode: str | None, rank: int | None, problems: Problems
) -> None:
    modes = [one.mode.name for one in declarations.modes]
    if mode is not None and mode not in modes:
        problems.add(ConfigError(f"mode: there is no mode {mode!r} (command line). {did_you_mean(mode, modes)}"))
    if rank is not None and not 0 <= rank < world_size:
        problems.add(ConfigError(f"rank: {rank} is out of range (command line): the ranks are 0 to {world_size - 1}."))


def _unknown(what: str, name: str, known: Iterable[str], registry: Registry) -> str:
    if name in registry.off:
        return f"There is no {what}: plugin {name!r} is {registry.off[name]}."
    return f"There is no {what}. {did_you_mean(name, known)}"


def _planned(one: Declared, mesh: Mesh, settings: Settings, ranks: tuple[int, ...] | None) -> PlannedMode:
    mode, said = one.mode, settings.modes.get(one.mode.name, {})
    layout = mesh.layout(mode) if mode.groups is None else None
    groups = listed(one, mesh) if layout is None else laid_out(layout)
    values = {key: said[key].value if key in said else getattr(mode, key) for key in ("backend", "timeout", "cpu")}
    return PlannedMode(
        name=mode.name,
        plugin=one.plugin,
        over=tuple(label(reference) for reference in mode.over or ()),
        layout=layout,
        groups=place(groups, ranks),
        dedicated=said["dedicated"].value if "dedicated" in said else mode.dedicated,
        **values,
    )
