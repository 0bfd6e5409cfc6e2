"""Plans in which a plugin is looked at, each with the keywords that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgregistry.errors import PluginError
from pgregistry.plan import Plan


@dataclass(frozen=True, slots=True)
class Case:
    """A plan and the keywords that made it."""

    world: int
    keywords: Mapping[str, Any]
    plan: Plan = field(repr=False)

    def __str__(self) -> str:
        return at(self.world, self.keywords)


@dataclass(frozen=True, slots=True)
class Fault:
    """Keywords at which a plugin fails, instead of being planned or refusing them."""

    world: int
    keywords: Mapping[str, Any]
    error: PluginError

    def __str__(self) -> str:
        return str(self.error)


def at(world: int, keywords: Mapping[str, Any]) -> str:
    """A world with its sizes, as in `at 8 ranks, tensor=2`."""
    said = (f"{name}={value!r}" for name, value in keywords.items() if name not in ("enable", "disable", "only"))
    return ", ".join((f"at {world} rank{'s' * (world != 1)}", *said))
