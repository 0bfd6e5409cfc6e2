"""The functions `plan` and `plan_modes`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pgregistry.errors import ConfigError, PluginError, Problems, did_you_mean
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans.plan import Plan
from pgregistry.settings.options import NAMES, OF_INIT, keywords
from pgregistry.settings.sources import reserved
from pgregistry.settings.tracing import tracing
from pgregistry.values import check_names, exhaust, plain, shown
from pgregistry.vocabulary import Mode


def plan(
    world_size: int,
    *,
    order: Sequence[str] | None = None,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    only: Sequence[str] | None = None,
    plugins: Iterable[object] = (),
    config: str | None = None,
    extra: Iterable[Mode] = (),
    within: Iterable[int] | str | None = None,
    ranks_per_host: int | None = None,
    hosts: Iterable[Iterable[int]] | str | None = None,
    hosts_per_domain: int | None = None,
    require: Sequence[str] = (),
    **sizes_and_settings: Any,
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
        plugins: Plugins that are not installed: modules, objects, or their names, as `"lab.modes"`.
        config: A TOML file with the same names.
        extra: Modes that no plugin declares.
        within: Plan on these ranks only, in this order; the sizes divide their number.
        ranks_per_host: How many ranks one host has, for modes that need it.
        hosts: The ranks of each host, if hosts are not equally many neighbours.
        hosts_per_domain: How many hosts one domain has, for modes that need it.
        require: Distributions that must be installed, as in `"pgregistry-expert>=1"`.
        **sizes_and_settings: Sizes and settings by name (`tensor=2`), or `zero1={"size": 2, "dedicated": True}`
            with any of size, backend, timeout (seconds), cpu, dedicated and options.

    Raises:
        ConfigError: with everything that is wrong with the values, and the valid ones.
        PluginError: if a plugin does not load, or its declarations are invalid.
    """
    given, problems = keywords(locals()), Problems()
    for name in sorted(given.keys() & {*OF_INIT, "world_size"}):
        problems.add(ConfigError(f"{name!r} (keyword) is a parameter of init(), not of plan()."))
        del given[name]
    try:
        with tracing():
            return Planner.read(world_size, given, problems=problems).plan()
    except ConfigError as error:  # our frames say nothing about a value
        raise error.with_traceback(None) from error.__cause__


def plan_modes(
    world_size: int,
    modes: Iterable[Mode],
    *,
    order: Sequence[str] | None = None,
    within: Iterable[int] | None = None,
    ranks_per_host: int | None = None,
    hosts: Iterable[Iterable[int]] | str | None = None,
    hosts_per_domain: int | None = None,
    keep: str | Iterable[str] | None = None,
    **sizes: Any,
) -> Plan:
    """Plan exactly these modes; installed plugins, the environment and files do not count.

    A distribution builds its own `plan(world_size, …)` on it, under any names.

    >>> from pgregistry import WORLD, Mode, Split
    >>> rows = Split(WORLD, inner="columns", outer="rows")
    >>> plan = plan_modes(6, [Mode("row", over=rows), Mode("column", over=rows.outer)], columns=3)
    >>> list(plan["row"].groups), list(plan["column"].groups), plan.sizes["rows"]
    ([(0, 1, 2), (3, 4, 5)], [(0, 3), (1, 4), (2, 5)], 2)

    Args:
        world_size: How many ranks there are.
        modes: All modes that there are; names in them refer to one another.
        order: The axes, outermost first, instead of the nesting that they declare.
        within: Plan on these ranks only, in this order; the sizes divide their number.
        ranks_per_host: How many ranks one host has, for modes that need it.
        hosts: The ranks of each host, if hosts are not equally many neighbours.
        hosts_per_domain: How many hosts one domain has, for modes that need it.
        keep: The modes to keep in the plan; None for all. The others are still checked.
        **sizes: Sizes by name, or `NAME={"size": 2, "dedicated": True}`, as in `plan`. None stands
            for a size that is not given.

    Raises:
        ConfigError: with everything that is wrong with the values, and the valid ones.
        PluginError: if the declarations of the modes are invalid.
    """
    modes = exhaust(modes, "plan_modes(): modes") if isinstance(modes, Iterable) else (modes,)
    if not modes or not all(isinstance(mode, Mode) for mode in modes):
        raise PluginError(f"plan_modes() has modes={shown(modes)}; it must be one Mode or more.")
    problems = Problems()
    for name in sorted(NAMES & sizes.keys()):
        problems.add(reserved(name, "argument"))
    problems.raise_any()
    given = {name: size for name, size in sizes.items() if size is not None}
    given |= {"extra": modes, "order": order, "within": within, "ranks_per_host": ranks_per_host}
    given |= {"hosts": hosts, "hosts_per_domain": hosts_per_domain}
    plan = Planner.read(world_size, given, environ={}, installed=(), problems=problems, origin="argument").plan()
    if keep is None:
        return plan
    kept = set(check_names("keep", plain(keep), "plan_modes()"))
    for name in sorted(kept.difference(plan.modes)):
        problems.add(ConfigError(f"keep: there is no mode {name!r} (argument). {did_you_mean(name, plan.modes)}"))
    problems.raise_any()
    return replace(plan, planned=tuple(mode for mode in plan.planned if mode.name in kept))
