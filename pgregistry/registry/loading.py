"""Loading of a plugin: import it, check its hooks, register it with pluggy."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import pluggy

from pgregistry import hookspecs
from pgregistry.errors import PluginError, describe, did_you_mean, listing
from pgregistry.registry.plugin import InstalledPlugin

PREFIX: Final = "pgregistry_"
HOOKS: Final = tuple(sorted(name for name in vars(hookspecs) if name.startswith(PREFIX)))


class HookManager(pluggy.PluginManager):
    """pluggy's manager with the hooks of pgregistry."""

    def __init__(self) -> None:
        super().__init__(hookspecs.PROJECT)
        self.add_hookspecs(hookspecs)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Return the options of a hook implementation; None for what `hookimpl` does not mark.

        pluggy looks at every name of a module so closely that this takes longest of loading it.
        """
        return super().parse_hookimpl_opts(plugin, name) if _marking(getattr(plugin, name, None)) else None


def load(installed: InstalledPlugin, manager: HookManager) -> PluginError | None:
    """Import and register a plugin; return the error if it fails."""
    name = installed.plugin.name

    def failure(what: str) -> PluginError:
        way_out = f"To run without it: disable=[{name!r}], --disable {name} or PGREGISTRY_DISABLE={name}."
        return PluginError(f"{installed} {what}\n{way_out}", plugin=name)

    try:
        plugin = installed.entry_point.load()
    except (Exception, SystemExit) as error:
        failed = failure(f"does not load: {describe(error)}")
        failed.__cause__ = error
        return failed
    if inspect.isclass(plugin):
        return failure("is a class; a plugin must be a module or an object. Did you forget the '()'?")
    try:
        if wrong := _wrong_hooks(plugin):
            return failure(wrong)
        manager.register(plugin, name=name)
        manager.check_pending()
    except Exception as error:  # pluggy's validation, or an attribute of the plugin that raises
        if manager.has_plugin(name):
            manager.unregister(name=name)
        return failure(f"is not valid: {' '.join(str(error).split())}")
    return None


def _wrong_hooks(plugin: object) -> str | None:
    """Return what is wrong with functions that pluggy would ignore, or of which it would call only one."""
    found: dict[str, str] = {}
    for name in dir(plugin):
        value = getattr(plugin, name, None)
        options = _marking(value)
        if options is not None:
            hook = options.get("specname") or name
            if hook not in HOOKS:
                return f"implements {hook!r}, which is not a hook. {did_you_mean(hook, HOOKS)}"
            if kinds := [kind for kind in ("wrapper", "hookwrapper") if options.get(kind)]:
                why = "which is not supported: each plugin is called separately. Remove it."
                return f"implements {hook!r} with {kinds[0]}=True, {why}"
            if hook in found:
                rule = "A plugin must have one for each hook: make them one function."
                return f"has two functions for {hook!r}: {found[hook]!r} and {name!r}. {rule}"
            found[hook] = name
        elif name.startswith(PREFIX) and inspect.isroutine(value):
            return f"has a function {name!r} without @hookimpl. Mark it, or give it another name."
    return None if found else f"implements no hook ({listing(HOOKS, 'or')})."


def _marking(value: object) -> Mapping[str, Any] | None:
    """Return the options that `hookimpl` left on a function, None if it did not mark it.

    This is the one use of an attribute that pluggy does not document. The documented way,
    `PluginManager.parse_hookimpl_opts`, takes 60 times as long.
    """
    options = getattr(value, f"{hookspecs.PROJECT}_impl", None) if callable(value) else None
    return options if isinstance(options, dict) else None
