"""The plugins of one run: which of them are on, and what their hooks return."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from pgregistry.errors import ConfigError, PgregistryError, PluginError, Problems, did_you_mean, listing, text_of
from pgregistry.registry.advice import NOTHING, Hidden, Owners, kind_of, nothing_installed
from pgregistry.registry.discovery import discover, switched_off, with_named
from pgregistry.registry.distributions import ENTRY_POINTS
from pgregistry.registry.loading import HOOKS, HookManager, load
from pgregistry.registry.plugin import BUNDLED, InstalledPlugin, Plugin, PluginStatus, plugin_error
from pgregistry.settings.merge import Settings, read_settings
from pgregistry.settings.tracing import describe_result, log
from pgregistry.values import plain, shown
from pgregistry.vocabulary import Mode, Setting

T = TypeVar("T")

#: Why a plugin is off beside a plan that is given, and does not have it.
NOT_PLANNED: Final = "not in the plan"
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
        self._hidden = Hidden()
        self.active = tuple(status.installed.plugin for status in statuses if status.name == "active")
        on = {plugin.name for plugin in self.active}
        off = [status for status in statuses if status.installed.plugin.name not in on]
        self.off: Mapping[str, str] = {status.installed.plugin.name: status.reason or "failed" for status in off}
        self._functions = {
            hook: {one.plugin_name: one for one in getattr(manager.hook, hook).get_hookimpls()} for hook in HOOKS
        }
        self._implementing = {
            hook: [plugin for plugin in self.active if plugin.name in self._functions[hook]] for hook in HOOKS
        }

    @classmethod
    def read(
        cls,
        problems: Problems,
        found: tuple[InstalledPlugin, ...] | None = None,
        settings: Settings | None = None,
        *,
        planned: Collection[str] | None = None,
        **sources: Any,
    ) -> Registry:
        """Read the settings of these sources, as `read_settings` does, and load the plugins that they leave on.

        Plugins that fail are kept in `statuses`. Beside a plan that is given, installed plugins that are not `planned`,
        which are those of its modes, are off.
        """
        settings, manager = settings or read_settings(problems, **sources), HookManager()
        found = with_named(discover() if found is None else found, settings, problems)
        on: dict[str, list[InstalledPlugin]] = {}
        reasons = [_why_off(installed, settings, planned) for installed in found]
        for installed, reason in zip(found, reasons, strict=True):
            if reason is None:
                on.setdefault(installed.plugin.name, []).append(installed)
        statuses = []
        for installed, reason in zip(found, reasons, strict=True):
            log.debug("%s found in %s", installed, installed.folder or "nowhere")
            if reason is not None:
                status = PluginStatus(installed, reason)
            elif error := _clash(installed, on[installed.plugin.name]):
                status = PluginStatus(installed, error=error)
            else:
                status = load(installed, manager)
            statuses.append(status)
            if log.isEnabledFor(logging.DEBUG):
                _log_below(str(status))
        return cls(settings, tuple(statuses), manager)

    def check(self, problems: Problems) -> None:
        """Add to `problems` the errors of plugins, and plugins that are named but not installed."""
        for status in self.statuses:
            if status.error:
                problems.add(status.error)
        if not self.statuses and not self.settings.extra:
            problems.add(PluginError(self.incomplete()))
        else:
            self.check_names(problems)

    def check_names(self, problems: Problems) -> None:
        """Add to `problems` each name in enable, disable and only that is not a plugin."""
        installed = [status.installed for status in self.statuses]
        names, owners = {name for one in installed for name in one.names}, Owners(installed)
        only = self.settings.only
        switches = {"enable": self.settings.enable, "disable": self.settings.disable}
        switches["only"] = dict.fromkeys(only.value, only.origin) if only else {}
        for switch, given in switches.items():
            known = names | ({BUNDLED} if switch == "only" and not self.incomplete() else set())
            for name in (name for name in given if name not in known):
                missing = self.incomplete() if (switch, name) == ("only", BUNDLED) else owners.of(name)
                hint = missing or self.unknown(name, known)
                problems.add(ConfigError(f"{switch}: no plugin is called {name!r} ({given[name]}). {hint}"))

    def missing(self, name: str) -> str:
        """Return why no plugin has a name, if what is installed is the reason; it begins with a space."""
        return f" {self.incomplete()}" if self.statuses and self.incomplete() else self._hidden.why(name)

    def unknown(self, name: str, known: Iterable[str]) -> str:
        """Return what helps with a name that no plugin has or declares: the like of it, and what hides a plugin."""
        return did_you_mean(name, known) + self._hidden.why(name)

    def incomplete(self) -> str:
        """Return that the bundled plugins are not installed, and what to do; nothing if they are."""
        if any(status.installed.bundled for status in self.statuses):
            return ""
        return nothing_installed("None of the bundled plugins is installed" if self.statuses else NOTHING)

    def implementing(self, hook: str) -> list[str]:
        """Return the names of the active plugins that implement a hook."""
        return [plugin.name for plugin in self._implementing[hook]]

    def call(self, plugin: Plugin, hook: str, **arguments: object) -> Any:
        """Call a hook of one plugin; return its result, a list for a generator, None if it does not implement it.

        pluggy's results do not name their plugin, so each plugin is called separately.

        Raises:
            PluginError: if the plugin raises, with its error as the cause.
        """
        function = self._functions[hook].get(plugin.name)
        if function is None:
            return None
        if not log.isEnabledFor(logging.DEBUG):
            return _result(plugin, hook, function, arguments)
        # Texts are shown with their value; plans, contexts and command lines by name alone.
        given = (f"{key}={value!r}" if isinstance(value, str | None) else key for key, value in arguments.items())
        log.debug("%s(%s) of %s", hook, ", ".join(given), plugin)
        try:
            result = _result(plugin, hook, function, arguments)
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
        for plugin in self._implementing[hook]:
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
        return self._declared(plugin, "pgregistry_modes", Mode)

    def settings_of(self, plugin: Plugin) -> list[Setting]:
        """Return the settings that a plugin declares.

        Raises:
            PluginError: if it yields anything but settings, or raises.
        """
        return self._declared(plugin, "pgregistry_settings", Setting)

    def declares(self, plugin: Plugin) -> bool:
        """Return True if a plugin declares modes and settings, or none, without an error."""
        try:
            _ = self.modes(plugin), self.settings_of(plugin)
        except PgregistryError:
            return False
        return True

    def _declared(self, plugin: Plugin, hook: str, kind: type[T]) -> list[T]:
        if plugin.name not in self._functions[hook]:
            return []
        result = self.call(plugin, hook)
        if isinstance(result, kind) or not isinstance(result, Iterable):
            raise plugin.error(f"{hook} returned {shown(result)}; yield each {kind.__name__}.")
        declared = list(result)
        if wrong := [one for one in declared if not issubclass(type(one), kind)]:
            raise plugin.error(f"{hook} yielded {shown(wrong[0])}, which is {kind_of(wrong[0], kind.__name__)}.")
        return declared


def _why_off(installed: InstalledPlugin, settings: Settings, planned: Collection[str] | None) -> str | None:
    if planned is not None and installed.named_by is None and installed.plugin.name not in planned:
        return NOT_PLANNED
    return switched_off(installed, settings)


def _clash(installed: InstalledPlugin, same: Sequence[InstalledPlugin]) -> PluginError | None:
    """Return the error if more than one plugin that is on has this name."""
    name = installed.plugin.name
    if len(same) == 1:
        return None
    plugins = [other.plugin for other in same]
    if len({(str(other), other.folder) for other in same}) == 1 and installed.distribution:
        file = f"{installed.distribution.info}/{ENTRY_POINTS}"
        return plugin_error(f"{installed} is there {len(same)} times; {file} must name it once.", *plugins)
    way_out = f"Uninstall all but one, or leave them out with disable=[{name!r}]."
    if any(other.bundled for other in same):
        way_out = f"Rename the other one; disable=[{name!r}] then leaves out the bundled one alone."
    if any(other.named_by is not None for other in same):
        way_out = f"Rename the module in plugins=, whose last word names the plugin, or leave {name!r} out of plugins=."
    return plugin_error(f"{len(same)} plugins are called {name!r}: {listing(same)}.\n{way_out}", *plugins)


def _result(plugin: Plugin, hook: str, implementation: Any, arguments: Mapping[str, object]) -> Any:
    """Call one plugin's hook; exhaust a generator here, because its errors are the plugin's."""
    try:
        result = plain(implementation.function(*(arguments[name] for name in implementation.argnames)))
        if isinstance(result, Iterable) and not isinstance(result, str):
            answers = list(islice(result.items() if isinstance(result, Mapping) else result, MOST_ANSWERS + 1))
            if len(answers) > MOST_ANSWERS:
                raise PluginError(f"{hook} yielded more than {MOST_ANSWERS} items; it must end.")
            return plain(dict(answers) if isinstance(result, Mapping) else answers)
    except KeyboardInterrupt:
        raise
    except PgregistryError as error:
        if type(error) is PluginError and error.plugin == plugin.name:
            raise  # the hook made a plan, in which it was called again
        kind = next(one for one in type(error).__mro__ if one.__module__ == "pgregistry")  # a plugin may have its own
        if kind is PluginError:
            raise plugin.error(str(error)) from error
        raise kind(f"{plugin}: {error}", ranks=error.ranks, plugin=plugin.name) from error
    except BaseException as error:  # not all is an Exception: SystemExit, CancelledError, a panic in Rust
        again = ""
        if isinstance(error, RecursionError):
            (plugin, hook), again = _outermost_call(), " (does it call plan() or init()?)"
        text = f"{plugin} raised {type(error).__name__} in {hook}: {text_of(error)}{again}"
        raise plugin_error(text, plugin) from error
    return result


def _outermost_call() -> tuple[Plugin, str]:
    """Return the plugin and the hook that are called first: if the hook makes a plan, others are called in it."""
    frame, first = inspect.currentframe(), {}
    while frame := frame and frame.f_back:
        if frame.f_code is _result.__code__:
            first = frame.f_locals
    return first["plugin"], first["hook"]


def _log_below(text: str) -> None:
    """Log lines that belong to the line before."""
    log.debug("%s", "\n".join(f"  {line}" for line in text.splitlines()))
