"""The distributions of examples/ as if they were installed: what pyproject.toml says, in a folder for sys.path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pgregistry.testing import write_distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = Path(__file__).parents[2] / "examples"
ON_WHEN_ENABLED = "pgregistry.optional"
#: What `[project]` says of each distribution, by its folder.
PROJECTS: dict[Path, dict[str, Any]] = {
    path.parent: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted(EXAMPLES.glob("*/pyproject.toml"))
}
#: The layouts of other systems: their plugins, which are off until enabled, and the modules that these are.
FAMILIES: dict[str, str] = {
    plugin: module
    for said in PROJECTS.values()
    for plugin, module in said.get("entry-points", {}).get(ON_WHEN_ENABLED, {}).items()
}


def place(metadata: Path, without: frozenset[str] = frozenset()) -> list[str]:
    """Write what an installer would leave of them into a folder; where sys.path must lead for all to be found."""
    paths = []
    for folder, said in PROJECTS.items():
        if said["name"] in without:
            continue
        for group, points in said.get("entry-points", {}).items():
            into = metadata / f"{said['name']}-{group}"
            write_distribution(into, said["name"], points, {}, said["version"], optional=group == ON_WHEN_ENABLED)
            paths += [str(into), str(folder)]
    return paths
