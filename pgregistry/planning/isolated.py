"""A plan of given modes and nothing else: no plugin, no environment, no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pgregistry import values as arguments
from pgregistry.errors import ConfigError, PluginError, Problems, did_you_mean
from pgregistry.planning.planner import make
from pgregistry.planning.plans.plan import Plan
from pgregistry.settings.options import RESERVED
from pgregistry.settings.sources import reserved
from pgregistry.vocabulary import Mode


def plan_modes(
    world_size: int,
    modes: Iterable[Mode],
    *,
    within: Iterable[int] | None = None,
    ranks_per_host: int | None = None,
    keep: str | Iterable[str] | None = None,
    **sizes: Any,
) -> Plan:
    """Plan exactly these modes: what is installed, set in the environment or in a file does not count.

    It is what a distribution builds its own `plan(world_size, …)` on, under whatever names.

    >>> from pgregistry import WORLD, Mode, Split
    >>> rows = Split(WORLD, inner="columns", outer="rows")
    >>> plan = plan_modes(6, [Mode("row", over=rows), Mode("column", over=rows.outer)], columns=3)
    >>> list(plan["row"].groups), list(plan["column"].groups), plan.sizes["rows"]
    ([(0, 1, 2), (3, 4, 5)], [(0, 3), (1, 4), (2, 5)], 2)

    Args:
        world_size: How many ranks there are.
        modes: All modes that there are; names in them refer to one another.
        within: Plan on these ranks only, in this order; the sizes divide their number.
        ranks_per_host: How many ranks one host has, for modes that ask.
        keep: The modes to keep in the plan; None for all. Those left out are still checked.
        **sizes: Sizes by name, or `NAME={"size": 2, "dedicated": True}`, as in `plan`; None says nothing.

    Raises:
        ConfigError: with everything that is wrong with the values, and what would be right.
        PluginError: if the modes declare what cannot be.
    """
    modes = tuple(modes) if isinstance(modes, Iterable) else (modes,)
    if not modes or not all(isinstance(mode, Mode) for mode in modes):
        raise PluginError(f"plan_modes plans one Mode or more, not {modes!r}.")
    problems = Problems()
    for name in sorted(RESERVED & sizes.keys()):
        problems.add(reserved(name, "argument"))
    problems.raise_any()
    keywords = {
        **{name: size for name, size in sizes.items() if size is not None},
        "extra": modes,
        "within": within,
        "ranks_per_host": ranks_per_host,
    }
    plan = make(world_size, keywords, environ={}, found=(), problems=problems, origin="argument").plan
    if keep is None:
        return plan
    kept = set(arguments.check_names("keep", keep, "plan_modes()"))
    for name in sorted(kept.difference(plan.modes)):
        problems.add(ConfigError(f"keep: there is no mode {name!r} (argument). {did_you_mean(name, plan.modes)}"))
    problems.raise_any()
    return replace(plan, planned=tuple(mode for mode in plan.planned if mode.name in kept))
