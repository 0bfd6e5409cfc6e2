"""What plugins say about a plan: options for its process groups, and reasons against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from pgregistry.errors import ConfigError, PluginError, Problems
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import Plugin


def process_group_options(
    registry: Registry, planned: Sequence[PlannedMode], backend: str | None
) -> dict[str, dict[str, object]]:
    """The options that plugins give, by mode."""
    options: dict[str, dict[str, object]] = {}
    for mode in planned:
        answered: Plugin | None = None
        hook = "pgregistry_process_group_options"
        for plugin, answer in registry.call_all(hook, mode=mode.name, backend=mode.backend or backend):
            if answer is None:
                continue
            if answered is not None:
                raise PluginError(f"Both {answered} and {plugin} give process group options for mode {mode.name!r}.")
            if not isinstance(answer, Mapping) or not all(map(_is_plain, answer.items())):
                raise PluginError(f"{plugin}: {hook} returned {answer!r}; return a mapping of names to plain values.")
            answered, options[mode.name] = plugin, dict(answer)
    return options


def _is_plain(option: tuple[object, object]) -> bool:
    """Whether a backend option is a name with a value that JSON can say."""
    key, value = option
    if isinstance(value, float):
        return isinstance(key, str) and isfinite(value)
    return isinstance(key, str) and isinstance(value, bool | int | str | None)


def check_plan(registry: Registry, plan: Plan, problems: Problems) -> None:
    """Add to `problems` each reason that a plugin has against a plan."""
    for plugin, reasons in registry.call_all("pgregistry_check", plan=plan):
        sentences = [reasons] if isinstance(reasons, str) else reasons
        if sentences is None:
            continue
        if not isinstance(sentences, Iterable) or not all(
            isinstance(reason, str) and reason.strip() for reason in sentences
        ):
            problems.add(PluginError(f"{plugin}: pgregistry_check answered {reasons!r}; yield one sentence a reason."))
            continue
        for reason in sentences:
            problems.add(ConfigError(f"{plugin}: {reason}"))
