"""A plugin, its installation, and its status in one run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from typing import Final

from pgregistry.errors import PluginError, listing
from pgregistry.registry.distributions import InstalledDistribution

#: In `only`, the plugins that ship with pgregistry and are on when installed; no plugin may be called so.
BUNDLED: Final = "bundled"


@dataclass(frozen=True, slots=True)
class Plugin:
    """The name of a plugin and the distribution that it comes from.

    >>> print(Plugin("tensor", "pgregistry", "0.1.0"))
    plugin 'tensor', pgregistry 0.1.0

    Attributes:
        origin: A sentence on where it is from, with which errors about it end.
        way_out: A sentence on how to run without it.
        entry: What its entry point names, if it is installed.
        folder: The folder that its distribution is in.
    """

    name: str
    distribution: str | None = None
    version: str | None = None
    origin: str | None = field(default=None, compare=False, repr=False)
    way_out: str | None = field(default=None, compare=False, repr=False)
    entry: str | None = field(default=None, compare=False, repr=False)
    folder: str | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.distribution is None:
            return f"plugin {self.name!r}"
        return f"plugin {self.name!r}, {self.distribution} {self.version}"

    def error(self, text: str) -> PluginError:
        """Return the error about this plugin."""
        return plugin_error(f"{self}: {text}", self)

    @property
    def elsewhere(self) -> str | None:
        """Return the file of its module if that does not lie where its distribution does."""
        if self.entry is None or self.folder is None:
            return None
        spec = spec_of(re.split(r"[.:\s\[]", self.entry)[0])
        file = spec.origin if spec else None
        return None if file is None or os.path.abspath(file).startswith(os.path.join(self.folder, "")) else file


def plugin_error(text: str, *plugins: Plugin) -> PluginError:
    """Return an error about plugins, of which the last is at fault.

    It ends with where they are from. If it is about one plugin alone, it also has the module if that lies elsewhere,
    and how to run without the plugin.

    >>> print(plugin_error("No.", Plugin("ring", way_out="Leave it out.", origin="Found in /site-packages.")))
    No.
    Leave it out.
    Found in /site-packages.
    """
    last = plugins[-1]
    lines = [text]
    if all(plugin == last for plugin in plugins):
        lines += [f"Its module is {file}."] if (file := last.elsewhere) else []
        lines += [last.way_out] if last.way_out else []
    origins = dict.fromkeys(plugin.origin for plugin in plugins if plugin.origin)
    return PluginError("\n".join((*lines, *origins)), plugin=last.name)


def without(*plugins: Plugin) -> str:
    """Return the keywords of which each switches one of several plugins off; `extra` is none that is installed.

    >>> without(Plugin("ring", way_out="…"), Plugin("wheel", way_out="…"))
    "disable=['ring'] or disable=['wheel']"
    """
    return listing((f"disable=[{plugin.name!r}]" for plugin in plugins if plugin.way_out), "or")


def spec_of(module: str) -> ModuleSpec | None:
    """Return where a module is found; None if it is not, or if what stands in its place raises."""
    try:
        return importlib.util.find_spec(module)
    except KeyboardInterrupt:
        raise
    except BaseException:  # of a package around it, which this imports, or of a finder of anybody's
        return None


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A plugin with its entry point, or one that `plugins=` names.

    Attributes:
        entry_point: None if it cannot be read. For an object that `plugins=` has, its class.
        optional: True if it is off until it is enabled.
        distribution: The distribution that has the entry point.
        broken: What is wrong with the entry point, if anything is.
        named_by: The origin of the `plugins=` that names it; None for an installed one.
        given: The module or object itself, if `plugins=` has one.
    """

    plugin: Plugin
    entry_point: importlib.metadata.EntryPoint | None
    optional: bool = False
    distribution: InstalledDistribution | None = field(default=None, compare=False, repr=False)
    broken: str | None = None
    named_by: str | None = None
    given: object = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        point = self.entry_point
        if point and self.named_by:
            return f"{self.plugin} (plugins = {point.value}, {self.named_by})"
        return str(self.plugin) + (f" (entry point {point.group}: {point.name} = {point.value})" if point else "")

    @property
    def folder(self) -> str | None:
        """Return the entry of the path that its distribution is in."""
        return self.distribution.folder if self.distribution else None

    @property
    def bundled(self) -> bool:
        """Return True if it ships with pgregistry and is on when installed."""
        return self.plugin.distribution == "pgregistry" and not self.optional

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names that switch it off: also those of its distribution if its own may not be readable."""
        if self.broken is None or self.distribution is None:
            return (self.plugin.name,)
        return (self.plugin.name, self.distribution.name, self.distribution.info_name)


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """The state of an installed plugin in this run: on, off with the reason, or failed with the error.

    Attributes:
        import_seconds: How long importing it took here; next to nothing if it was imported before.
        imports_torch: True if importing it imported torch, None if torch was there before.
    """

    installed: InstalledPlugin
    reason: str | None = None
    error: PluginError | None = None
    import_seconds: float | None = None
    imports_torch: bool | None = None

    @property
    def name(self) -> str:
        """Return `active`, `disabled` or `failed`."""
        return "failed" if self.error else "disabled" if self.reason else "active"

    def __str__(self) -> str:
        if self.error or self.reason:
            return f"failed: {self.error}" if self.error else f"off: {self.reason}"
        module = self.installed.entry_point.module if self.installed.entry_point else ""
        try:
            file = getattr(sys.modules.get(module), "__file__", None) or module
        except Exception:  # of an object that a plugin puts in the place of its module
            file = module
        return f"on: {file}" + (f", which imports torch, in {self.import_seconds:.2f} s" if self.imports_torch else "")
