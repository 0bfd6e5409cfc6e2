"""Discovery of the installed plugins through their entry points.

pluggy's own loader drops a second plugin of one name and keeps whichever the file system lists
first. Here two of one name are an error, and a plugin that is off is not imported.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Final

from pgregistry.registry.plugin import InstalledPlugin, Plugin

ON_WHEN_INSTALLED: Final = "pgregistry"
ON_WHEN_ENABLED: Final = "pgregistry.optional"


def discover() -> tuple[InstalledPlugin, ...]:
    """Return all installed plugins, sorted by name, duplicates included; import none.

    >>> [installed.plugin.name for installed in discover() if installed.plugin.distribution == "pgregistry"][:3]
    ['data', 'dummy', 'global']
    """
    found = []
    for distribution in _distributions():
        if ON_WHEN_INSTALLED not in (distribution.read_text("entry_points.txt") or ""):
            continue  # parsing the entry points of all distributions would take longest
        metadata = distribution.metadata  # once, because each access parses the whole file again
        for point in distribution.entry_points:
            if point.group in (ON_WHEN_INSTALLED, ON_WHEN_ENABLED):
                plugin = Plugin(point.name, metadata["Name"], metadata["Version"])
                found.append(InstalledPlugin(plugin, point, optional=point.group == ON_WHEN_ENABLED))
    return tuple(sorted(found, key=lambda one: (one.plugin.name, one.plugin.distribution or "", one.entry_point.value)))


def _distributions() -> Iterator[importlib.metadata.Distribution]:
    """Yield all distributions; of two with one name the first on the path, as Python's own `entry_points` does."""
    seen = set[str]()
    for distribution in importlib.metadata.distributions():
        # `entry_points` compares this private attribute: it is the name of the folder, so that no metadata need be
        # read. Without it the name in the metadata does nearly the same, slower.
        name = getattr(distribution, "_normalized_name", None) or distribution.metadata["Name"]
        if name not in seen:
            seen.add(name)
            yield distribution
