"""Plans in which a plugin is looked at, each with the keywords that made it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgregistry.errors import PgregistryError, PluginError
from pgregistry.planning.plans.plan import Plan


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
        return told(self.error)


def at(world: int, keywords: Mapping[str, Any]) -> str:
    """A world with its sizes, as in `at 8 ranks, tensor=2`."""
    said = (f"{name}={value!r}" for name, value in keywords.items() if name not in ("enable", "disable", "only"))
    return ", ".join((f"at {world} rank{'s' * (world != 1)}", *said))


def told(error: PgregistryError) -> str:
    """What an error says, and the line of the plugin's own error that led to it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if not frame.filename.startswith("<frozen")]
    if isinstance(cause, PgregistryError) or not frames:
        return str(error)
    return f"{error}\n  {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"
