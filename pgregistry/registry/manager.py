"""The plugins of one run: which of them are on, and what their hooks return."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pluggy

from pgregistry.errors import ConfigError, PgregistryError, PluginError, Problems, did_you_mean, listing, text_of
from pgregistry.registry.discovery import ON_WHEN_ENABLED, discover
from pgregistry.registry.loading import HOOKS, HookManager, load
from pgregistry.registry.plugin import InstalledPlugin, Plugin, PluginStatus
from pgregistry.settings.merge import Settings, read_settings
from pgregistry.settings.tracing import describe_result, log
from pgregistry.values import shown
from pgregistry.vocabulary import Mode

#: Answers to one hook above which they count as endless.
MOST_ANSWERS: Final = 1 << 14


class Registry:
    """The plugins of one run, loaded.

    Attributes:
        settings: The settings that switch plugins on and off.
        statuses: One for each installed plugin, sorted by name.
        active: The plugins that are on, sorted by name.
        off: The reason for each plugin that is off or failed, by name.
    """

    def __init__(self, settings: Settings, statuses: tuple[PluginStatus, ...], manager: HookManager) -> None:
        self.settings = settings
        self.statuses = statuses
        self.active = tuple(status.installed.plugin for status in statuses if status.name == "active")
        on = {plugin.name for plugin in self.active}
        off = [status for status in statuses if status.installed.plugin.name not in on]
        self.off: Mapping[str, str] = {status.installed.plugin.name: status.reason or "failed" for status in off}
        self._manager = manager
        self._implementing = {
            hook: {implementation.plugin_name for implementation in getattr(manager.hook, hook).get_hookimpls()}
            for hook in HOOKS
        }

    @classmethod
    def read(cls, problems: Problems, found: tuple[InstalledPlugin, ...] | None = None, **sources: Any) -> Registry:
        """Read the settings of these sources, as `read_settings` does, and load the plugins that they leave on.

        Plugins that fail are kept in `statuses`.
        """
        settings, manager = read_settings(problems, **sources), HookManager()
        found = discover() if found is None else found
        on = [installed for installed in found if switched_off(installed, settings) is None]
        statuses = []
        for installed in found:
            if log.isEnabledFor(logging.DEBUG):
                distribution = installed.entry_point.dist
                log.debug("%s found in %s", installed, distribution.locate_file("") if distribution else "nowhere")
            reason, error = switched_off(installed, settings), None
            if reason is None:
                error = _clash(installed, on) or load(installed, manager)
            statuses.append(PluginStatus(installed, reason, error))
            if log.isEnabledFor(logging.DEBUG):
                module = installed.entry_point.module
                file = getattr(sys.modules.get(module), "__file__", None) or module
                _log_below(f"failed: {error}" if error else f"off: {reason}" if reason else f"on: {file}")
        return cls(settings, tuple(statuses), manager)

    def check(self, problems: Problems) -> None:
        """Add to `problems` the errors of plugins, and plugins that are named but not installed."""
        for status in self.statuses:
            if status.error:
                problems.add(status.error)
        if not self.statuses and not self.settings.extra:
            problems.add(PluginError(_nothing_installed()))
        else:
            self.check_names(problems)

    def check_names(self, problems: Problems) -> None:
        """Add to `problems` each name in enable, disable and only that is not a plugin."""
        known = {status.installed.plugin.name for status in self.statuses}
        only = self.settings.only
        switches = {"enable": self.settings.enable, "disable": self.settings.disable}
        switches["only"] = dict.fromkeys(only.value, only.origin) if only else {}
        for switch, names in switches.items():
            for name in (name for name in names if name not in known):
                hint = did_you_mean(name, known)
                problems.add(ConfigError(f"{switch}: no plugin is called {name!r} ({names[name]}). {hint}"))

    def implementing(self, hook: str) -> list[str]:
        """Return the names of the active plugins that implement a hook."""
        return [plugin.name for plugin in self.active if plugin.name in self._implementing[hook]]

    def call(self, plugin: Plugin, hook: str, **arguments: object) -> Any:
        """Call a hook of one plugin; return its result, a list for a generator, None if it does not implement it.

        pluggy's results do not name their plugin, so each plugin is called separately.

        Raises:
            PluginError: if the plugin raises, with its error as the cause.
        """
        if plugin.name not in self._implementing[hook]:
            return None
        module = self._manager.get_plugin(plugin.name)
        caller = self._manager.subset_hook_caller(hook, self._manager.get_plugins() - {module})
        if not log.isEnabledFor(logging.DEBUG):
            return _result(plugin, hook, caller, arguments)
        # Texts are shown with their value; plans, contexts and command lines by name alone.
        given = (f"{key}={value!r}" if isinstance(value, str | None) else key for key, value in arguments.items())
        log.debug("%s(%s) of %s", hook, ", ".join(given), plugin)
        try:
            result = _result(plugin, hook, caller, arguments)
        except PgregistryError as error:
            _log_below(f"failed: {error}")
            raise
        for one in (result if isinstance(result, list) else [result]) or [None]:
            _log_below(describe_result(one))
        return result

    def call_all(self, hook: str, **arguments: object) -> Iterator[tuple[Plugin, Any]]:
        """Call a hook of each active plugin that implements it, by name; yield the plugin and its result.

        Raises:
            PluginError: if a plugin raises, with its error as the cause.
        """
        for plugin in self.active:
            if plugin.name in self._implementing[hook]:
                yield plugin, self.call(plugin, hook, **arguments)

    def call_in_order(self, hook: str, order: Sequence[str], **arguments: object) -> None:
        """Call a hook without a result, first of the plugins named in `order`, then of the others by name."""
        position = {name: index for index, name in reversed(list(enumerate(order)))}
        for plugin in sorted(self.active, key=lambda plugin: position.get(plugin.name, len(position))):
            self.call(plugin, hook, **arguments)

    def modes(self, plugin: Plugin) -> list[Mode]:
        """Return the modes that a plugin declares.

        Raises:
            PluginError: if it yields anything but modes, or raises.
        """
        if plugin.name not in self._implementing["pgregistry_modes"]:
            return []
        result = self.call(plugin, "pgregistry_modes")
        if isinstance(result, Mode) or not isinstance(result, Iterable):
            raise plugin.error(f"pgregistry_modes returned {shown(result)}; yield each Mode.")
        modes = list(result)
        if wrong := [mode for mode in modes if not isinstance(mode, Mode)]:
            raise plugin.error(f"pgregistry_modes yielded {shown(wrong[0])}, which is not a Mode.")
        return modes


def switched_off(installed: InstalledPlugin, settings: Settings) -> str | None:
    """Return why a plugin is off in this run, with the origin; None if it is on.

    `disable` wins over all, then `enable`; `only` replaces the plugins that are on when installed.
    """
    name = installed.plugin.name
    if name in settings.disable:
        return f"disabled ({settings.disable[name]})"
    if name in settings.enable:
        return None
    if settings.only is not None:
        return None if name in settings.only.value else f"not in only ({settings.only.origin})"
    if installed.optional:
        return f"off until enabled (entry point group {ON_WHEN_ENABLED})"
    return None


def _clash(installed: InstalledPlugin, on: Sequence[InstalledPlugin]) -> PluginError | None:
    """Return the error if another plugin that is on has the same name."""
    name = installed.plugin.name
    same = [other for other in on if other.plugin.name == name]
    if len(same) == 1:
        return None
    way_out = f"Uninstall all but one, or leave them out with disable=[{name!r}]."
    return PluginError(f"{len(same)} plugins are called {name!r}: {listing(same)}.\n{way_out}", plugin=name)


def _result(plugin: Plugin, hook: str, caller: pluggy.HookCaller, arguments: Mapping[str, object]) -> Any:
    """Call one plugin's hook; exhaust a generator here, because its errors are the plugin's."""
    try:
        results = caller(**arguments)  # at most one; pluggy leaves None out
        result = results[0] if results else None
        if isinstance(result, Iterable) and not isinstance(result, str | Mapping):
            answers = list(islice(result, MOST_ANSWERS + 1))
            if len(answers) > MOST_ANSWERS:
                raise PluginError(f"{hook} yielded more than {MOST_ANSWERS} items; it must end.")
            return answers
    except PgregistryError as error:
        kind = next(one for one in type(error).__mro__ if one.__module__ == "pgregistry")  # a plugin may have its own
        raise kind(f"{plugin}: {error}", ranks=error.ranks, plugin=plugin.name) from error
    except (Exception, SystemExit) as error:
        text = f"{plugin} raised {type(error).__name__} in {hook}: {text_of(error)}"
        raise PluginError(text, plugin=plugin.name) from error
    return result


def _log_below(text: str) -> None:
    """Log lines that belong to the line before."""
    log.debug("%s", "\n".join(f"  {line}" for line in text.splitlines()))


def _nothing_installed() -> str:
    folder = Path(__file__).parents[2]
    what = f"pgregistry is imported from {folder / 'pgregistry'} without being installed"
    return f"No mode plugins are installed. {what}; run `pip install -e {folder}`."
