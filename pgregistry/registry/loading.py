"""Loading of a plugin: import it, check its hooks, register it with pluggy."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import pluggy

from pgregistry import hookspecs
from pgregistry.errors import PgregistryError, PluginError, describe, did_you_mean, listing, text_of
from pgregistry.registry import advice
from pgregistry.registry.plugin import InstalledPlugin, PluginStatus, plugin_error

log = logging.getLogger("pgregistry.plan")

PREFIX: Final = "pgregistry_"
HOOKS: Final = tuple(sorted(name for name in vars(hookspecs) if name.startswith(PREFIX)))
#: Marks a function as a hook; the one use of an attribute that pluggy does not document.
MARK: Final = f"{hookspecs.PROJECT}_impl"


class Hooks:
    """The hooks of a plugin, which pluggy registers in its place.

    So nothing else of the plugin is looked at, and it is never compared or hashed.
    """

    def __init__(self, plugin: object, found: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> None:
        self.__dict__ |= {name: function for name, (function, _) in found.items()}
        self._plugin = plugin
        self._options = {name: options for name, (_, options) in found.items()}

    def __dir__(self) -> list[str]:
        return list(self._options)  # pluggy asks for each of these names


class HookManager(pluggy.PluginManager):
    """pluggy's manager with the hooks of pgregistry.

    Attributes:
        names: The name of each plugin by the identity of its module or object.
        deprecated: The warnings of each hook: about all of it, and about its arguments by name.
    """

    def __init__(self) -> None:
        super().__init__(hookspecs.PROJECT)
        self.deprecated: dict[str, tuple[Warning | None, Mapping[str, Warning]]] = {}
        self.add_hookspecs(hookspecs)
        self.names: dict[int, str] = {}
        self.causes = advice.Causes()

    def failure(self, installed: InstalledPlugin, what: str) -> PluginError:
        """Return the error about a plugin that cannot be used: what is wrong, the likely cause and the way out."""
        text = "\n".join((f"{installed} {what}", *self.causes.of(installed)))
        if installed.named_by:
            text += "\nplugins= must name what every rank can import."
        if module := advice.left_out(installed):
            text += f"\nIt was left out when this program was frozen: freeze it with --hidden-import {module}."
        return plugin_error(text, installed.plugin)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Return the options of a hook without its warnings: pluggy repeats them in each plan, without the plugin."""
        if not name.startswith(PREFIX):
            return None  # pluggy asks for each name in the module
        options = super().parse_hookspec_opts(module_or_class, name)
        if options and (options["warn_on_impl"] or options["warn_on_impl_args"]):
            self.deprecated[name] = options["warn_on_impl"], options["warn_on_impl_args"] or {}
            options = {**options, "warn_on_impl": None, "warn_on_impl_args": None}
        return options

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Return the options of a hook implementation; None for anything else."""
        return plugin._options.get(name)


def load(installed: InstalledPlugin, manager: HookManager) -> PluginStatus:
    """Import and register a plugin; return its status, with the error if it fails."""
    point = installed.entry_point
    if point is None or installed.broken:
        return PluginStatus(installed, error=manager.failure(installed, f"{installed.broken}"))
    if installed.given is not None:
        return PluginStatus(installed, error=register(installed, installed.given, manager))
    torch, before = "torch" in sys.modules, None if point.module in sys.modules else (_settings(), [*sys.path])
    begun = time.perf_counter()
    error: PluginError | None = None
    try:
        plugin = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # not all that a module raises is an Exception: SystemExit, a panic in Rust
        problems = raised.problems if isinstance(raised, PgregistryError) else ()
        for one in problems:
            if isinstance(one, PluginError) and one.plugin == installed.plugin.name:
                error = one  # it made a plan, which needs it
        if error is None:
            error = manager.failure(installed, f"does not load: {describe(raised)}")
            error.__cause__ = raised
    seconds = time.perf_counter() - begun
    if before is not None:
        _undo(installed, *before)
    error = error or register(installed, plugin, manager)
    return PluginStatus(installed, None, error, seconds, None if torch else "torch" in sys.modules)


def register(installed: InstalledPlugin, plugin: object, manager: HookManager) -> PluginError | None:
    """Register a module or an object with pluggy; return the error if it is not a plugin."""
    name, module = installed.plugin.name, installed.entry_point.module if installed.entry_point else "the module"
    if issubclass(type(plugin), type | FunctionType):
        kind, call = ("class" if issubclass(type(plugin), type) else "function"), getattr(plugin, "__name__", "")
        call = call if isinstance(call, str) and call.isidentifier() else "Plugin"
        way_out = f"Write `plugin = {call}()` in {module}, and name `{module}:plugin`."
        return manager.failure(installed, f"is a {kind}; a plugin must be a module or an object. {way_out}")
    if _being_imported(module):
        what = "makes a plan when it is imported, which needs the plugin itself. Do it later."
        return manager.failure(installed, what)
    if (other := manager.names.get(id(plugin))) is not None:
        same = f"plugins {other!r} and {name!r} are the same object {module}; remove one of the entry points"
        return manager.failure(installed, f"is there already: {same}.")
    try:
        found = _hooks(plugin)
        manager.register(Hooks(plugin, found), name=name)
        manager.check_pending()
        for hook in manager.deprecated:
            _warn(installed, hook, manager)
    except PluginError as error:
        return manager.failure(installed, str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pluggy's validation, a class of anybody's, a warning that is raised
        if manager.has_plugin(name):
            manager.unregister(name=name)
        return manager.failure(installed, f"is not valid: {' '.join(text_of(error).split()) or describe(error)}")
    manager.names[id(plugin)] = name
    return None


def _being_imported(module: str) -> bool:
    try:
        return bool(getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False))
    except Exception:  # of an object that a plugin puts in the place of its module
        return False


def _warn(installed: InstalledPlugin, hook: str, manager: HookManager) -> None:
    """Warn, once in a process by Python's default, if a plugin uses what is deprecated of a hook."""
    whole, of_arguments = manager.deprecated[hook]
    for one in getattr(manager.hook, hook).get_hookimpls():
        if one.plugin_name != installed.plugin.name:
            continue
        used = [("", whole), *((f" with {name!r}", of_arguments.get(name)) for name in one.argnames)]
        function = inspect.unwrap(getattr(one.function, "__func__", one.function))
        code: CodeType | None = getattr(function, "__code__", None)
        file, line = (code.co_filename, code.co_firstlineno) if code else (f"<{installed.plugin.name}>", 1)
        seen = getattr(function, "__globals__", {}).setdefault("__warningregistry__", {})
        for how, warning in used:
            if warning is not None:
                text = f"{installed.plugin} implements {hook}{how}: {warning}"
                warnings.warn_explicit(text, type(warning), file, line, registry=seen)


def _settings() -> dict[str, str]:
    return {name: os.environ[name] for name in os.environ if name.startswith("PGREGISTRY")}  # the other values unread


def _undo(installed: InstalledPlugin, settings: Mapping[str, str], path: list[str]) -> None:
    """Undo what a plugin may not do at import: others would be planned otherwise, or not be found."""
    if (now := _settings()) != settings:
        for name in now:
            del os.environ[name]
        os.environ.update(settings)
        log.warning("%s sets PGREGISTRY… in os.environ at import, which is undone: the user sets these.", installed)
    if gone := [entry for entry in path if entry not in sys.path]:
        sys.path += gone
        log.warning("%s takes %s out of sys.path at import, which is undone.", installed, listing(gone))


def _hooks(plugin: object) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Return the marked functions of a plugin with their options, each under the name that it has there.

    Raises:
        PluginError: for a function that pluggy would ignore, or of which it would call only one.
    """
    found: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    names: dict[str, str] = {}
    later = False
    for name, value in sorted(_attributes(plugin), key=itemgetter(0)):
        options = _marking(value)
        if (options is not None or name in HOOKS) and not _is_function(value):
            raise PluginError(f"has {name!r} of type {type(value).__name__}, but a hook must be a function. Use def.")
        if options is None:
            if name.startswith(PREFIX):
                raise PluginError(f"has a function {name!r} without @hookimpl. Mark it, or give it another name.")
            continue
        hook = options.get("specname") or name
        if hook not in HOOKS:
            if options.get("optionalhook"):
                later = True  # a hook of another version of pgregistry
                continue
            raise PluginError(f"implements {hook!r}, which is not a hook. {did_you_mean(hook, HOOKS)}")
        if kinds := [kind for kind in ("wrapper", "hookwrapper") if options.get(kind)]:
            why = "which is not supported: each plugin is called separately. Remove it."
            raise PluginError(f"implements {hook!r} with {kinds[0]}=True, {why}")
        if hook in names:
            rule = "A plugin must have one for each hook: make them one function."
            raise PluginError(f"has two functions for {hook!r}: {names[hook]!r} and {name!r}. {rule}")
        names[hook] = name
        function = value if issubclass(type(plugin), ModuleType) else getattr(plugin, name)
        _check_arguments(hook, function)
        found[name] = function, options
    if not found and not later:
        raise PluginError(f"implements no hook ({listing(HOOKS, 'or')}).")
    return found


def _attributes(plugin: object) -> Iterator[tuple[str, Any]]:
    """Yield the functions of a plugin, and what else is called or is in the place of a hook; run none of its code.

    Properties have a `__set__`, functions have none.
    """
    values: dict[str, Any] = {}
    if not issubclass(type(plugin), ModuleType):
        for kind in reversed(type(plugin).__mro__):
            values |= vars(kind)
    with suppress(AttributeError):  # it may have slots
        values |= object.__getattribute__(plugin, "__dict__")
    for name, value in values.items():
        binds = hasattr(type(value), "__get__") and not hasattr(type(value), "__set__")
        if isinstance(name, str) and (binds or (name in HOOKS and callable(value))):
            yield name, value


def _is_function(value: Any) -> bool:
    """Return True for what every version of pluggy takes as a hook; a cached or a partial function is not one."""
    if issubclass(type(value), staticmethod):
        return _is_function(value.__func__)
    return issubclass(type(value), FunctionType | MethodType | classmethod)


def _marking(value: Any) -> Mapping[str, Any] | None:
    """Return the options that `hookimpl` left on a function, None if it did not mark it."""
    try:
        options = getattr(value, MARK, None) or getattr(getattr(value, "__func__", None), MARK, None)
    except Exception:  # of a descriptor of anybody's
        return None
    return options if isinstance(options, dict) else None


def _check_arguments(hook: str, function: Any) -> None:
    """Raise PluginError for arguments that pluggy would leave at their default, in silence."""
    code = getattr(function, "__code__", None)
    variable = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    if code and not (function.__defaults__ or code.co_kwonlyargcount or code.co_flags & variable):
        return  # the usual case, without the cost of a signature
    known = inspect.signature(getattr(hookspecs, hook)).parameters
    for one in inspect.signature(function).parameters.values():
        left_out = one.kind is one.KEYWORD_ONLY or one.default is not one.empty
        needed = one.name in known or one.default is one.empty
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) or (left_out and needed):
            rule = f"pluggy passes only arguments without a default, none after a *; take those of ({', '.join(known)})"
            raise PluginError(f"implements {hook!r} with the argument {str(one)!r}, but {rule}.")
