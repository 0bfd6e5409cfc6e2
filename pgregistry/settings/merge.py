"""What the user asked for: keywords, command line, environment and file, each value with its origin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pgregistry.errors import ConfigError, PluginError, Problems, did_you_mean
from pgregistry.settings.sources import RESERVED, Source, from_environment, from_file, reserved
from pgregistry.values import LARGEST, check_backend, check_timeout, shown, whole_number
from pgregistry.vocabulary import Mode

T = TypeVar("T")

MODE_KEYS: Final = ("size", "backend", "timeout", "cpu", "dedicated")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """A value and where it came from."""

    value: T
    origin: str


@dataclass(slots=True)
class Settings:
    """All that was asked for, the highest source first: keywords, command line, environment, file.

    Attributes:
        sizes: By size name.
        modes: By mode name: backend, timeout (seconds), cpu and dedicated.
        order: Axes, outermost first.
        enable, disable, require: Names (requirements) with their origin, over all sources.
        only: Of the highest source that says it.
        ranks_per_host: How many ranks one host has.
        extra: Modes given as objects.
        unreadable: Names of sizes that were given, but not as a size.
        mentioned: Names that were given without saying anything, with their origin.
    """

    sizes: dict[str, Setting[int]] = field(default_factory=dict)
    modes: dict[str, dict[str, Setting[Any]]] = field(default_factory=dict)
    order: Setting[tuple[str, ...]] | None = None
    enable: dict[str, str] = field(default_factory=dict)
    disable: dict[str, str] = field(default_factory=dict)
    require: dict[str, str] = field(default_factory=dict)
    only: Setting[tuple[str, ...]] | None = None
    ranks_per_host: Setting[int] | None = None
    extra: tuple[Mode, ...] = ()
    unreadable: list[str] = field(default_factory=list)
    mentioned: dict[str, str] = field(default_factory=dict)


def gather(
    problems: Problems,
    *,
    keywords: Mapping[str, Any],
    command_line: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    origin: str = "keyword",
) -> Settings:
    """Merge all sources; add to `problems` what cannot be read.

    Args:
        problems: Where to add what is wrong.
        keywords: As given to `plan` or `init`; None stands for what was not given.
        command_line: The same names, from `assignments` and options.
        environ: Environment variables; None for those of this process.
        origin: What errors and the plan call the keywords.
    """
    environ = os.environ if environ is None else environ
    sources = [
        Source(keywords, {}, origin),
        Source(command_line or {}, {}, "command line"),
        from_environment(environ, problems),
    ]
    if config := next((source.values["config"] for source in sources if source.values.get("config")), None):
        sources.append(from_file(config, problems))
    settings = Settings(extra=_extra(keywords.get("extra"), problems))
    for source in sources:
        # The file cannot name a file, nor say what only Python can.
        elsewhere = () if source is sources[-1] and config else ("config", "extra", "within")
        for key, value in source.values.items():
            if key not in elsewhere:
                _merge(settings, source, key, value, problems)
    return settings


def _extra(given: object, problems: Problems) -> tuple[Mode, ...]:
    modes = (given,) if isinstance(given, Mode) else given if isinstance(given, Iterable) else None
    if given is not None and (modes is None or isinstance(modes, str)):
        problems.add(ConfigError(f"extra = {given!r} (keyword) is not a list of modes."))
        return ()
    try:
        given_modes = list(modes or ())
    except Exception as error:
        problems.add(ConfigError(f"extra (keyword) raised {type(error).__name__}: {error}"))
        return ()
    for mode in given_modes:
        if not isinstance(mode, Mode):
            problems.add(ConfigError(f"extra (keyword) has {mode!r}, which is not a Mode."))
    return tuple(mode for mode in given_modes if isinstance(mode, Mode))


def _merge(settings: Settings, source: Source, key: str, value: Any, problems: Problems) -> None:
    """Take one value of a source, unless a higher one said it."""
    origin = source.origin(key)
    if value is None:
        if key not in RESERVED:
            settings.mentioned[key] = origin
    elif key in ("enable", "disable", "require"):
        into: dict[str, str] = getattr(settings, key)
        for name in _name_list(key, value, origin, problems):
            into.setdefault(name, origin)
    elif key in ("order", "only"):
        if getattr(settings, key) is None:
            setattr(settings, key, Setting(_name_list(key, value, origin, problems), origin))
    elif key == "ranks_per_host":
        number = _number(key, value, origin, problems)
        if settings.ranks_per_host is None and number is not None:
            settings.ranks_per_host = Setting(number, origin)
    elif key in RESERVED:
        problems.add(reserved(key, origin))
    elif isinstance(value, Mapping):
        _merge_mode(settings, key, value, origin, problems)
    else:
        _merge_size(settings, key, value, origin, problems)


def _merge_size(settings: Settings, name: str, value: object, origin: str, problems: Problems) -> None:
    number = _number(name, value, origin, problems)
    if number is None:
        settings.unreadable.append(name)
    else:
        settings.sizes.setdefault(name, Setting(number, origin))


def _merge_mode(settings: Settings, name: str, table: Mapping[str, Any], origin: str, problems: Problems) -> None:
    if not table:
        settings.mentioned[name] = origin
    for key, value in table.items():
        what = f"{name} ({origin})"
        if key == "size":
            _merge_size(settings, name, value, origin, problems)
            continue
        try:
            if key == "backend":
                value = check_backend(value, what)
            elif key == "timeout":
                value = check_timeout(value, what)
            elif not isinstance(key, str) or key not in MODE_KEYS:
                raise PluginError(
                    f"{what} has {key!r}, which is no setting of a mode. {did_you_mean(str(key), MODE_KEYS)}"
                )
            elif not isinstance(value, bool):
                raise PluginError(f"{what} has {key} = {value!r}; it takes true or false.")
        except PluginError as error:
            problems.add(ConfigError(str(error)))
        else:
            settings.modes.setdefault(name, {}).setdefault(key, Setting(value, origin))


def _number(name: str, value: object, origin: str, problems: Problems) -> int | None:
    number = whole_number(value)
    if number is None or not 1 <= number <= LARGEST:
        problems.add(ConfigError(f"{name} = {shown(value)} ({origin}) is not a whole number from 1."))
        return None
    return number


def _name_list(key: str, value: object, origin: str, problems: Problems) -> tuple[str, ...]:
    """Names as a list, or in one string with commas (a requirement may hold commas of its own)."""
    if isinstance(value, str):
        separator = r"[,\s]+(?=[A-Za-z_])" if key == "require" else r"[,\s]+"
        value = [word for word in re.split(separator, value.strip(" ,")) if word]
    names = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(name, str) for name in names):
        problems.add(ConfigError(f"{key} = {value!r} ({origin}) is not a list of names."))
        return ()
    return names
