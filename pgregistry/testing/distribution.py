"""Write a distribution as plain files, which importlib.metadata finds like any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pgregistry.registry.discovery import ON_WHEN_ENABLED, ON_WHEN_INSTALLED


def write_distribution(
    folder: Path,
    name: str,
    entry_points: Mapping[str, str],
    files: Mapping[str, str],
    version: str = "0.1",
    optional: bool = False,
) -> Path:
    """Write a distribution into a folder; it is installed when the folder is on `sys.path`.

    >>> import tempfile
    >>> source = "from pgregistry import hookimpl"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_distribution(Path(folder), "pgregistry-x", {"x": "pgregistry_x"}, {"pgregistry_x.py": source})
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['pgregistry_x-0.1.dist-info', 'pgregistry_x.py']

    Args:
        folder: The folder to write into.
        name: The name of the distribution.
        entry_points: Plugin names, each with its module.
        files: File names, each with its source; their folders are created.
        version: The version of the distribution.
        optional: Declare plugins that are off until enabled.

    Returns:
        The folder.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    group = ON_WHEN_ENABLED if optional else ON_WHEN_INSTALLED
    points = [f"[{group}]", *(f"{key} = {value}" for key, value in entry_points.items())]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join(points) + "\n", encoding="utf-8")
    for file, source in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(source, encoding="utf-8")
    return folder
