"""The plans that a plugin is tested with, each with the keywords that made it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pgregistry.errors import PgregistryError
from pgregistry.planning.plans.plan import Plan
from pgregistry.vocabulary import Setting


class NotTried(Exception):  # noqa: N818 - it is not an error
    """A property that cannot be tried here; the text says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A plan and the keywords that made it."""

    world: int
    keywords: Mapping[str, Any]
    plan: Plan = field(repr=False)

    def __str__(self) -> str:
        return at(self.world, self.keywords)

    def without_options(self) -> Plan | None:
        """Return the plan on gloo, which takes no backend options, if a mode has some; None if none has."""
        if not any(mode.options for mode in self.plan.planned):
            return None
        bare: dict[str, Any] = {"options": {}, "said_options": None, "backend": None}
        return replace(self.plan, planned=tuple(replace(mode, **bare) for mode in self.plan.planned))

    def on_gloo(self) -> dict[str, Any]:
        """Return the keywords with gloo in place of any other backend that a mode names."""
        keywords = dict(self.keywords)
        for mode in self.plan.planned:
            if mode.backend not in (None, "gloo"):
                size = {"size": keywords[mode.name]} if mode.name in keywords else {}
                keywords[mode.name] = {**size, "backend": "gloo"}
        return keywords


@dataclass(frozen=True, slots=True)
class Refused:
    """Keywords that cannot be planned. A PluginError is a fault of the plugin, a ConfigError is not."""

    world: int
    keywords: Mapping[str, Any]
    error: PgregistryError

    def __str__(self) -> str:
        return explained(self.error)


def at(world: int, keywords: Mapping[str, Any]) -> str:
    """Return a world with its sizes, as in `at 8 ranks, tensor=2`."""
    sizes = (
        f"{name}={value!r}" for name, value in keywords.items() if name not in ("enable", "disable", "only", "plugins")
    )
    return ", ".join((f"at {world} rank{'s' * (world != 1)}", *sizes))


def explained(error: PgregistryError) -> str:
    """Return the text of an error, with the line of the plugin that caused it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if not frame.filename.startswith("<frozen")]
    if isinstance(cause, PgregistryError) or not frames:
        return str(error)
    return f"{error}\n  {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"


def other_values(setting: Setting) -> Sequence[object]:
    """Return values of a setting to try beside its default."""
    flags = (True, False) if isinstance(setting.default, bool) else ()
    return [value for value in setting.choices or flags if value != setting.default][:4]
