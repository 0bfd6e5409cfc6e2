"""What PyInstaller takes along for pgregistry, which finds its plugins by metadata that no import statement shows.

PyInstaller finds this module by the entry point group `pyinstaller40`. Nothing else imports it.
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger("PyInstaller.pgregistry")


def hook_dirs() -> list[str]:
    """Return the folder of `hook-pgregistry.py`."""
    return [str(Path(__file__).parent)]


def collect() -> tuple[list[tuple[str, str]], list[str]]:
    """Return the data files and the modules of a program with pgregistry.

    These are the commands and the templates of `pgregistry new`, and of each plugin, also of those that are off until
    enabled, the module and the metadata.
    """
    from PyInstaller.utils.hooks import collect_data_files, copy_metadata

    from pgregistry.cli import BUILT_IN
    from pgregistry.registry.discovery import discover

    datas: list[tuple[str, str]] = collect_data_files("pgregistry")
    modules, distributions = {f"pgregistry.cli.{module}" for module in BUILT_IN.values()}, {"pgregistry"}
    for installed in discover():
        if installed.broken or installed.entry_point is None:
            log.warning("%s %s", installed, installed.broken)
            continue
        modules.add(installed.entry_point.module)
        distributions.add(installed.plugin.distribution or "pgregistry")
    for name in sorted(distributions):
        try:
            datas += copy_metadata(name)
        except Exception as error:  # a plugin then is not found, which is no reason to build nothing
            log.warning("the metadata of %s cannot be copied, so its plugins will not be found: %s", name, error)
    return datas, sorted(modules)
