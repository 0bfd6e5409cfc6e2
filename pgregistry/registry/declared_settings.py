"""The settings that the plugins of a run declare, under names that nothing else has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgregistry.errors import PluginError, Problems
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import Plugin, plugin_error
from pgregistry.settings.named import MODE_SETTINGS
from pgregistry.settings.options import RESERVED
from pgregistry.vocabulary import Setting


@dataclass(frozen=True, slots=True)
class DeclaredSetting:
    """A setting and the plugin that declares it."""

    setting: Setting
    plugin: Plugin

    def __str__(self) -> str:
        return f"setting {self.setting.name!r} of {self.plugin}"

    def clash(self, other: str) -> PluginError:
        """Return the error about something else of the same name."""
        return plugin_error(f"{self} has the name of {other}; rename one.", self.plugin)


def declared_settings(registry: Registry, problems: Problems) -> dict[str, DeclaredSetting]:
    """Return the settings of all plugins that are on, by name; add to `problems` names that are taken."""
    declared: dict[str, DeclaredSetting] = {}
    for name in registry.implementing("pgregistry_settings"):
        plugin = next(plugin for plugin in registry.active if plugin.name == name)
        with problems.collecting():
            for setting in registry.settings_of(plugin):
                one = DeclaredSetting(setting, plugin)
                if setting.name in RESERVED:
                    problems.add(one.clash("a parameter of plan() or init(), which is reserved"))
                elif setting.name in (*MODE_SETTINGS, "size", "options"):
                    problems.add(one.clash("a key in the table of a mode, which is reserved"))
                if (first := declared.setdefault(setting.name, one)) is not one:
                    problems.add(one.clash(str(first)))
    return declared


def check_clashes(
    declared: Mapping[str, DeclaredSetting], sizes: Mapping[str, str], modes: Iterable[str], problems: Problems
) -> None:
    """Add to `problems` each setting that has the name of a size, with the owner of that, or of a mode."""
    modes = {*modes} if declared else ()
    for name, one in declared.items():
        if name in sizes:
            problems.add(one.clash(f"size {name!r} of {sizes[name]}"))
        elif name in modes:
            problems.add(one.clash(f"mode {name!r}"))
