"""The distributions of examples/ as if they were installed: their files, and the metadata that pyproject.toml says."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Project:
    """A distribution in a folder."""

    folder: Path

    @property
    def said(self) -> dict[str, Any]:
        """What `[project]` says."""
        said: dict[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return said

    @property
    def optional(self) -> dict[str, str]:
        """The plugins that are off until enabled, and the modules that they are."""
        return dict(self.said.get("entry-points", {}).get("pgregistry.optional", {}))

    def write_metadata(self, into: Path) -> None:
        """What installers leave beside the files, in a folder that goes on sys.path with this one."""
        name, version = self.said["name"], self.said["version"]
        info = into / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        lines = []
        for group, points in self.said.get("entry-points", {}).items():
            lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


#: All of them, by name.
PROJECTS = {path.parent.name: Project(path.parent) for path in sorted(EXAMPLES.glob("*/pyproject.toml"))}
#: Those that only declare modes to be enabled: the layouts of other systems.
FAMILIES = {name: project for name, project in PROJECTS.items() if project.optional}


def place(projects: dict[str, Project], metadata: Path) -> list[str]:
    """Where sys.path must lead for these distributions to be found."""
    for project in projects.values():
        project.write_metadata(metadata)
    return [str(metadata), *(str(project.folder) for project in projects.values())]
