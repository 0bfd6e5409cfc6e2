"""Modes in which a rank has no group: of a plan, of plugins that are off, and names that nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgregistry.errors import BuildError, ConfigError, PgregistryError, did_you_mean, listing
from pgregistry.planning.plans.plan import Plan
from pgregistry.values import shown


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a rank has no group in a mode.

    Attributes:
        plan: The plan.
        rank: This rank.
        off: The reason for each plugin that is off, by name.
    """

    plan: Plan
    rank: int
    off: Mapping[str, str]

    def is_known(self, mode: object) -> bool:
        """Return True if a mode is in the plan, or is called like a plugin that is off."""
        return isinstance(mode, str) and (mode in self.plan or mode in self.off)

    def error(self, mode: object) -> PgregistryError:
        """Return the error about a mode in which this rank has no group."""
        if not isinstance(mode, str):
            return ConfigError(f"There is no mode {shown(mode)}. {did_you_mean('', self.plan.modes)}")
        if mode in self.plan:
            return BuildError(
                f"Rank {self.rank} is in no group of mode {mode!r}. On such a rank context.get({mode!r}) returns None."
            )
        if reason := self.off.get(mode):
            enable = "Remove it from there" if reason.startswith("disabled") else f"Switch it on with enable=[{mode!r}]"
            return ConfigError(
                f"There is no mode {mode!r}: plugin {mode!r} is {reason}. {enable}, or call context.get({mode!r}), "
                "which returns None as long as the plugin is off.",
                plugin=mode,
            )
        return ConfigError(f"There is no mode {mode!r}. {self._hint(mode)}")

    def _hint(self, mode: str) -> str:
        if of_plugin := [planned.name for planned in self.plan.planned if planned.plugin.name == mode]:
            return f"Plugin {mode!r} is on, and declares {listing(of_plugin)}."
        hint = did_you_mean(mode, (*self.plan.modes, *self.off))
        if not self.off or hint.startswith("Did"):
            return hint
        few = len(self.off) == 1
        names = f"Plugin {listing(map(repr, self.off))} is" if few else f"Plugins {listing(map(repr, self.off))} are"
        return f"{did_you_mean(mode, self.plan.modes)} {names} off."
