"""Every bundled mode has the properties of a plugin, and plugins that lack one are told which."""

from __future__ import annotations

from origin import EIGHT

from pgregistry.testing import PluginConformance

for name in EIGHT:
    title = f"Test{name.title()}"
    globals()[title] = type(title, (PluginConformance,), {"plugin": name})
