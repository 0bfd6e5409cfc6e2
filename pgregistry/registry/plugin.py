"""A plugin, its installation, and its status in one run."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

from pgregistry.errors import PluginError


@dataclass(frozen=True, slots=True)
class Plugin:
    """The name of a plugin and the distribution that it comes from.

    >>> print(Plugin("tensor", "pgregistry", "0.1.0"))
    plugin 'tensor', pgregistry 0.1.0
    """

    name: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        if self.distribution is None:
            return f"plugin {self.name!r}"
        return f"plugin {self.name!r}, {self.distribution} {self.version}"

    def error(self, text: str) -> PluginError:
        """Return the error about this plugin."""
        return PluginError(f"{self}: {text}", plugin=self.name)


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A plugin with its entry point; an optional one is off until it is enabled."""

    plugin: Plugin
    entry_point: importlib.metadata.EntryPoint
    optional: bool

    def __str__(self) -> str:
        point = self.entry_point
        return f"{self.plugin} (entry point {point.group}: {point.name} = {point.value})"


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """The state of an installed plugin in this run: on, off with the reason, or failed with the error."""

    installed: InstalledPlugin
    reason: str | None = None
    error: PluginError | None = None

    @property
    def name(self) -> str:
        """Return `active`, `disabled` or `failed`."""
        return "failed" if self.error else "disabled" if self.reason else "active"
