"""The plugins that a run uses, loaded, and what they answer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pluggy

from pgregistry import hookspecs
from pgregistry.errors import ConfigError, PgregistryError, PluginError, Problems, did_you_mean, listing
from pgregistry.registry.discovery import Found, Plugin, discover, switched_off
from pgregistry.registry.trace import Trace
from pgregistry.settings.merge import Settings
from pgregistry.vocabulary import Mode

PREFIX: Final = "pgregistry_"


@dataclass(frozen=True, slots=True)
class Status:
    """What became of an installed plugin in this run."""

    found: Found
    reason: str | None = None
    error: PluginError | None = None

    @property
    def name(self) -> str:
        """`active`, `disabled` or `failed`."""
        return "failed" if self.error else "disabled" if self.reason else "active"


class _Manager(pluggy.PluginManager):
    """pluggy inspects every name of a module closely, which takes longest of loading it."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """What `hookimpl` wrote on a function; nothing for what it did not mark."""
        marked = hasattr(getattr(plugin, name, None), f"{hookspecs.PROJECT}_impl")
        return super().parse_hookimpl_opts(plugin, name) if marked else None


class Registry:
    """The plugins of one run, loaded.

    Attributes:
        statuses: One for each installed plugin, sorted by name.
        active: The plugins that are on, sorted by name.
        absent: Names of the plugins that are off, with the reason.
    """

    def __init__(self, statuses: tuple[Status, ...], manager: pluggy.PluginManager, trace: Trace | None = None) -> None:
        self.statuses = statuses
        self.active = tuple(status.found.plugin for status in statuses if status.name == "active")
        on = {plugin.name for plugin in self.active}
        self.absent: Mapping[str, str] = {
            status.found.plugin.name: status.reason or "failed"
            for status in statuses
            if status.found.plugin.name not in on
        }
        self._manager = manager
        self._trace = trace

    @classmethod
    def load(cls, settings: Settings, found: tuple[Found, ...] | None = None, trace: Trace | None = None) -> Registry:
        """Import and register the plugins that are on; failures are kept in `statuses`."""
        manager = _Manager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        found = discover() if found is None else found
        on = [one for one in found if switched_off(one, settings) is None]
        statuses = []
        for one in found:
            if trace:
                trace.found(one)
            reason = switched_off(one, settings)
            statuses.append(Status(one, reason, None if reason else _load(one, on, manager)))
            if trace:
                trace.became(statuses[-1])
        return cls(tuple(statuses), manager, trace)

    def check(self, settings: Settings, problems: Problems) -> None:
        """Add to `problems` what is wrong with the plugins and with the names the user gave."""
        for status in self.statuses:
            if status.error:
                problems.add(status.error)
        known = {status.found.plugin.name for status in self.statuses}
        if not known and not settings.extra:
            problems.add(PluginError(_nothing_installed()))
        else:
            self.check_names(settings, problems)

    def check_names(self, settings: Settings, problems: Problems) -> None:
        """Add to `problems` the plugins that the user named and nobody installed."""
        known = {status.found.plugin.name for status in self.statuses}
        switches = {"enable": settings.enable, "disable": settings.disable}
        if settings.only is not None:
            switches["only"] = dict.fromkeys(settings.only.value, settings.only.origin)
        for switch, names in switches.items():
            for name, origin in names.items():
                if name not in known:
                    problems.add(
                        ConfigError(f"{switch}: no plugin is called {name!r} ({origin}). {did_you_mean(name, known)}")
                    )

    def ask(self, hook: str, **arguments: object) -> Iterator[tuple[Plugin, Any]]:
        """Each active plugin that implements a hook, by name, with its answer (None for none).

        pluggy's answers do not say whose they are, so plugins are asked one by one.

        Raises:
            PluginError: if a plugin raises, with its error as the cause.
        """
        for plugin in self.active:
            implemented, answer = self.call(plugin, hook, arguments)
            if implemented:
                yield plugin, answer

    def modes(self, plugin: Plugin) -> list[Mode]:
        """What a plugin declares.

        Raises:
            PluginError: if it yields what is not a `Mode`, or raises.
        """
        implemented, answer = self.call(plugin, "pgregistry_modes", {})
        if not implemented:
            return []
        return check_modes(plugin, answer)

    def call(self, plugin: Plugin, hook: str, arguments: Mapping[str, object]) -> tuple[bool, Any]:
        """Whether a plugin implements a hook, and its answer."""
        module = self._manager.get_plugin(plugin.name)
        caller = self._manager.subset_hook_caller(hook, self._manager.get_plugins() - {module})
        if not caller.get_hookimpls():
            return False, None
        if self._trace is None:
            return True, _answer(plugin, hook, caller, arguments)
        self._trace.asks(plugin, hook, arguments)
        try:
            answer = _answer(plugin, hook, caller, arguments)
        except PgregistryError as error:
            self._trace.answers(f"failed: {error}")
            raise
        self._trace.answers(answer)
        return True, answer

    def implementing(self, hook: str) -> list[str]:
        """The names of the active plugins that implement a hook."""
        implemented = {impl.plugin_name for impl in getattr(self._manager.hook, hook).get_hookimpls()}
        return [plugin.name for plugin in self.active if plugin.name in implemented]

    def tell(self, hook: str, order: Sequence[str], **arguments: object) -> None:
        """Call a hook that answers nothing, plugin by plugin, those named in `order` first."""
        place = {name: index for index, name in reversed(list(enumerate(order)))}
        for plugin in sorted(self.active, key=lambda plugin: place.get(plugin.name, len(place))):
            self.call(plugin, hook, arguments)


def _answer(plugin: Plugin, hook: str, caller: pluggy.HookCaller, arguments: Mapping[str, object]) -> Any:
    """What one plugin answers to a hook; a generator as a list."""
    try:
        answers = caller(**arguments)  # at most one; pluggy leaves None out
        answer = answers[0] if answers else None
        if isinstance(answer, Iterable) and not isinstance(answer, str | Mapping):
            return list(answer)  # its body may run only now, and its errors are the plugin's
    except PgregistryError as error:
        raise type(error)(f"{plugin}: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{plugin} raised {type(error).__name__} in {hook}: {error}") from error
    return answer


def check_modes(plugin: Plugin, answer: object) -> list[Mode]:
    """The modes that a plugin yielded; PluginError if they are something else."""
    if isinstance(answer, Mode) or not isinstance(answer, Iterable):
        raise PluginError(f"{plugin}: pgregistry_modes returned {answer!r}; yield each Mode.")
    modes = list(answer)
    for mode in modes:
        if not isinstance(mode, Mode):
            raise PluginError(f"{plugin}: pgregistry_modes yielded {mode!r}, which is not a Mode.")
    return modes


def _load(one: Found, on: list[Found], manager: pluggy.PluginManager) -> PluginError | None:
    """Import a plugin and register it; the error if that cannot be done."""
    same = [other for other in on if other.plugin.name == one.plugin.name]
    name = one.plugin.name
    if len(same) > 1:
        return PluginError(
            f"{len(same)} plugins are called {name!r}: {listing(same)}.\n"
            f"Uninstall all but one, or leave them out with disable=[{name!r}]."
        )
    try:
        plugin = one.entry_point.load()
    except (Exception, SystemExit) as error:
        failure = PluginError(f"{one} does not load: {type(error).__name__}: {error}\n{_way_out(name)}")
        failure.__cause__ = error
        return failure
    if inspect.isclass(plugin):
        return PluginError(
            f"{one} is a class; a plugin is a module or an object. Have you forgotten the '()'?\n{_way_out(name)}"
        )
    try:
        if wrong := _wrong_hooks(plugin):
            return PluginError(f"{one} {wrong}\n{_way_out(name)}")
        manager.register(plugin, name=name)
        manager.check_pending()
    except Exception as error:  # pluggy's validation, or an attribute of the plugin that raises
        if manager.has_plugin(name):
            manager.unregister(name=name)
        return PluginError(f"{one} is not valid: {' '.join(str(error).split())}\n{_way_out(name)}")
    return None


def _wrong_hooks(plugin: object) -> str | None:
    """What is wrong with the functions of a plugin that pluggy would pass over."""
    mark = f"{hookspecs.PROJECT}_impl"
    specs = sorted(name for name in vars(hookspecs) if name.startswith(PREFIX))
    marked = False
    for name in dir(plugin):
        value = getattr(plugin, name, None)
        options = getattr(value, mark, None) if callable(value) else None
        if isinstance(options, dict):
            marked = True
            hook = options.get("specname") or name
            if hook not in specs:
                return f"implements {hook!r}, which is no hook. {did_you_mean(hook, specs)}"
            if options.get("wrapper") or options.get("hookwrapper"):
                return f"wraps {hook!r}; each plugin is asked alone, so there is nothing to wrap."
        elif name.startswith(PREFIX) and inspect.isroutine(value):
            return f"has a function {name!r} without @hookimpl; mark it, or give it another name."
    return None if marked else f"implements no hook ({listing(specs, 'or')})."


def _way_out(name: str) -> str:
    return f"To run without it: disable=[{name!r}], --disable {name} or PGREGISTRY_DISABLE={name}."


def _nothing_installed() -> str:
    where = Path(__file__).parents[1]
    return (
        f"No mode plugins are installed. pgregistry is imported from {where} without being installed; "
        f"run `pip install -e {where.parent}`."
    )
