"""Modes in which a rank has no group: of a plan, of plugins that are off, and names that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass

from pgregistry.errors import BuildError, ConfigError, PgregistryError, did_you_mean, listing
from pgregistry.planning.plans.plan import Plan
from pgregistry.registry.advice import declares
from pgregistry.registry.manager import NOT_PLANNED, Registry
from pgregistry.registry.plugin import Plugin
from pgregistry.values import shown


@dataclass(frozen=True, slots=True)
class Absent:
    """The reason for which a rank has no group in a mode.

    Attributes:
        plan: The plan.
        rank: This rank.
        registry: The plugins of the run.
    """

    plan: Plan
    rank: int
    registry: Registry

    def is_known(self, mode: object) -> bool:
        """Return True if a mode is in the plan, or of a plugin that is off."""
        return isinstance(mode, str) and (mode in self.plan or self._off(mode) is not None)

    def error(self, mode: object) -> PgregistryError:
        """Return the error about a mode in which this rank has no group."""
        if not isinstance(mode, str):
            return ConfigError(f"There is no mode {shown(mode)}. {did_you_mean('', self.plan.modes)}")
        if mode in self.plan:
            return BuildError(
                f"Rank {self.rank} is in no group of mode {mode!r}. On such a rank context.get({mode!r}) returns None."
            )
        if plugin := self._off(mode):
            name, reason = plugin.name, self.registry.off[plugin.name]
            enable = "Remove it from there" if reason.startswith("disabled") else f"Switch it on with enable=[{name!r}]"
            if reason == NOT_PLANNED:
                enable = "Give a plan that was made with it"
            return ConfigError(
                f"There is no mode {mode!r}: plugin {name!r}{' has it, but' * (name != mode)} is {reason}. {enable}, "
                f"or call context.get({mode!r}), which returns None as long as the plugin is off.",
                plugin=name,
            )
        return ConfigError(f"There is no mode {mode!r}. {self._hint(mode)}")

    def _off(self, mode: str) -> Plugin | None:
        """Return the plugin that is off and is called like the mode, or else declares it."""
        off = [status.installed for status in self.registry.statuses if status.name == "disabled"]
        named = [installed for installed in off if installed.plugin.name == mode]
        return next((one.plugin for one in named or off if named or declares(one, mode)), None)

    def _hint(self, mode: str) -> str:
        if of_plugin := [planned.name for planned in self.plan.planned if planned.plugin.name == mode]:
            return f"Plugin {mode!r} is on, and declares {listing(of_plugin)}."
        hint = did_you_mean(mode, (*self.plan.modes, *self.registry.off))
        return hint if hint.startswith("Did you mean") else did_you_mean(mode, self.plan.modes)
