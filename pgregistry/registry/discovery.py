"""Which plugins are installed, and which of them a run uses.

Plugins are found through entry points alone. pluggy's own loader drops a second plugin of one
name in silence and lets the file system's order decide which one stays; here that is an error,
and what is switched off is not even imported.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pgregistry.settings.merge import Settings

ON_WHEN_INSTALLED: Final = "pgregistry"
ON_WHEN_ENABLED: Final = "pgregistry.optional"


@dataclass(frozen=True, slots=True)
class Plugin:
    """Who a plugin is."""

    name: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        if self.distribution is None:
            return f"plugin {self.name!r}"
        return f"plugin {self.name!r}, {self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that is installed: its entry point, and whether it waits to be enabled."""

    plugin: Plugin
    entry_point: importlib.metadata.EntryPoint
    optional: bool

    def __str__(self) -> str:
        point = self.entry_point
        return f"{self.plugin} (entry point {point.group}: {point.name} = {point.value})"


def discover() -> tuple[Found, ...]:
    """All installed plugins, sorted by name, duplicates included; none is imported."""
    found = []
    for distribution in _installed():
        if ON_WHEN_INSTALLED not in (distribution.read_text("entry_points.txt") or ""):
            continue  # most have none for us, and parsing those of all takes longest
        metadata = distribution.metadata  # once: each access parses the whole file again
        for point in distribution.entry_points:
            if point.group in (ON_WHEN_INSTALLED, ON_WHEN_ENABLED):
                plugin = Plugin(point.name, metadata["Name"], metadata["Version"])
                found.append(Found(plugin, point, optional=point.group == ON_WHEN_ENABLED))
    return tuple(sorted(found, key=lambda one: (one.plugin.name, one.plugin.distribution or "", one.entry_point.value)))


def _installed() -> Iterator[importlib.metadata.Distribution]:
    """All distributions; where the path has two of one name, the first, as `importlib.metadata.entry_points` does."""
    seen = set[str]()
    for distribution in importlib.metadata.distributions():
        # What `entry_points` goes by: the name of the folder, which needs no reading.
        name = getattr(distribution, "_normalized_name", None) or distribution.metadata["Name"]
        if name not in seen:
            seen.add(name)
            yield distribution


def switched_off(found: Found, settings: Settings) -> str | None:
    """Why a plugin is off in this run, with the origin; None if it is on.

    `disable` wins over all, then `enable`; `only` stands for what is on when installed.
    """
    name = found.plugin.name
    if name in settings.disable:
        return f"disabled ({settings.disable[name]})"
    if name in settings.enable:
        return None
    if settings.only is not None:
        return None if name in settings.only.value else f"not in only ({settings.only.origin})"
    if found.optional:
        return f"off until enabled (entry point group {ON_WHEN_ENABLED})"
    return None
