"""A plan that was made before `init`, which builds it: what shapes a plan comes with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems, listing
from pgregistry.planning.planner import EXTRA
from pgregistry.planning.plans.plan import Plan
from pgregistry.registry.manager import Registry
from pgregistry.registry.requirements import check_requirements
from pgregistry.settings.merge import Settings, read_settings
from pgregistry.settings.options import OF_INIT
from pgregistry.values import shown

log = logging.getLogger("pgregistry.plan")

#: What a caller may give beside a plan.
BESIDE: Final = frozenset({*OF_INIT, "config", "require"})
#: What environment and file may say: parameters of the run, and which plugins are on.
FROM_ELSEWHERE: Final = BESIDE | {"enable", "disable", "only", "plugins"}


def read_beside(problems: Problems, keywords: Mapping[str, Any], command_line: Mapping[str, Any] | None) -> Settings:
    """Return the settings of a run whose plan is given, and add to `problems` those that shape a plan.

    The environment and a file are read for parameters of the run, and for which plugins are on.
    """
    for origin, given in (("keyword", keywords), ("command line", command_line or {})):
        if shaping := [name for name, value in given.items() if name not in BESIDE and not _is_empty(value)]:
            pronoun, verb = ("it", "shapes") if len(shaping) == 1 else ("them", "shape")
            rule = f"{verb} a plan and must not be given beside plan=, which has its own"
            way_out = f"Leave {pronoun} out, or make the plan with {pronoun}."
            problems.add(ConfigError(f"{listing(shaping)} ({origin}) {rule}. {way_out}"))
    sources = [
        {name: one for name, one in (given or {}).items() if name in BESIDE} for given in (keywords, command_line)
    ]
    environ = {name: text for name, text in os.environ.items() if name != "PGREGISTRY"}
    return read_settings(problems, keywords=sources[0], command_line=sources[1], environ=environ, names=FROM_ELSEWHERE)


def check_given(plan: object, world_size: int) -> Plan:
    """Return a plan that is given, if it is one for this world.

    >>> import pgregistry
    >>> check_given(pgregistry.plan(8, tensor=2), 16)
    Traceback (most recent call last):
        ...
    pgregistry.ConfigError: plan (keyword) is for 8 ranks, but must be for the 16 of this world. Make it with ...

    Raises:
        ConfigError: if it is not.
    """
    if not isinstance(plan, Plan):
        rule = "must be a Plan, which plan(), plan_modes() and Plan.from_json() return"
        raise ConfigError(f"plan = {shown(plan)} (keyword) {rule}.")
    if plan.world_size != world_size:
        rule = f"but must be for the {world_size} of this world"
        way_out = f"Make it with pgregistry.plan({world_size}, …)."
        raise ConfigError(f"plan (keyword) is for {plan.world_size} ranks, {rule}. {way_out}")
    return plan


def load_plugins(plan: Plan, settings: Settings, problems: Problems) -> Registry:
    """Load the plugins of a plan that are on here, for `pgregistry_ready`; name the others in the log.

    All other installed plugins are off.
    """
    wanted = {mode.plugin.name for mode in plan.planned} - {EXTRA.name}
    registry = Registry.read(problems, settings=settings, planned=wanted)
    for status in registry.statuses:
        if status.error:
            problems.add(status.error)
    check_requirements(settings, problems)
    problems.raise_any()
    _log_missing(wanted, registry)
    return registry


def _log_missing(wanted: Collection[str], registry: Registry) -> None:
    on = {plugin.name for plugin in registry.active}
    if missing := [f"{name} ({registry.off.get(name, 'not installed')})" for name in sorted(wanted) if name not in on]:
        log.warning("pgregistry_ready is not called for plugins of the plan that are not on here: %s", listing(missing))


def _is_empty(value: object) -> bool:
    """Return True for what counts as not given: None, or an empty list of names."""
    return value is None or (isinstance(value, tuple | list) and not value)
