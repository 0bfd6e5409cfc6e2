"""Values that are given by name: of sizes, of settings, and of modes, which only the loaded plugins declare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems, did_you_mean, listing
from pgregistry.settings.merge import DEFAULT, ConfigValue, Given, Settings
from pgregistry.settings.options import NAMES
from pgregistry.settings.parameters import read_number, read_parameter
from pgregistry.settings.sources import Word, toml_value
from pgregistry.values import MOST_TEXT, check_backend, check_timeout, is_plain_option, shown, typed_like
from pgregistry.vocabulary import Setting

#: Keys of a mode's table beside `size` and `options`.
MODE_SETTINGS: Final = ("backend", "timeout", "cpu", "dedicated")
#: What a key of `options` begins with in `Settings.modes`.
OPTION: Final = "options."
#: What a setting must be, by the type of its default.
RULES: Final = {
    str: f"printable text on one line, of at most {MOST_TEXT} characters",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
#: Plugins that are off, of which an error about an unknown name shows at most so many.
SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class DeclaredNames:
    """The names that the plugins of a run declare.

    Attributes:
        sizes, modes: The names of sizes and of modes.
        settings: Each setting with the plugin that declares it, as text.
        off: The reason for each plugin that is off.
        missing: Returns why nothing has a name, as far as it lies at what is installed, after a space.
    """

    sizes: Collection[str]
    modes: Collection[str]
    settings: Mapping[str, tuple[Setting, str]] = field(default_factory=dict)
    off: Mapping[str, str] = field(default_factory=dict)
    missing: Callable[[str], str] = lambda name: ""


def read_named(settings: Settings, names: DeclaredNames, problems: Problems) -> Settings:
    """Return the settings with `sizes`, `values` and `modes`; add to `problems` what is wrong with them.

    >>> given = (Given("tensor", 2, "keyword"), Given("zero1.timeout", Word("60"), "PGREGISTRY"))
    >>> settings = read_named(Settings(given), DeclaredNames(["tensor", "zero1"], ["zero1"]), Problems())
    >>> settings.sizes["tensor"], settings.modes["zero1"]["timeout"]
    (ConfigValue(value=2, origin='keyword'), ConfigValue(value=60.0, origin='PGREGISTRY'))
    """
    reader = _Reader(names, problems)
    for one in settings.given:
        reader.read(one)
    defaults = {name: ConfigValue(setting.default, DEFAULT) for name, (setting, _) in names.settings.items()}
    run = {**reader.run, **settings.run}
    unreadable = tuple(reader.unreadable)
    values = {**defaults, **reader.values}
    return replace(settings, sizes=reader.sizes, values=values, modes=reader.modes, run=run, unreadable=unreadable)


class _Reader:
    """Reads values from the highest source to the lowest: of two values for one name the first counts."""

    def __init__(self, names: DeclaredNames, problems: Problems) -> None:
        self.sizes: dict[str, ConfigValue[int]] = {}
        self.values: dict[str, ConfigValue[Any]] = {}
        self.modes: dict[str, dict[str, ConfigValue[Any]]] = {}
        self.run: dict[str, ConfigValue[Any]] = {}
        self.unreadable: list[str] = []
        self._names = names
        self._problems = problems

    def read(self, given: Given) -> None:
        """Read one value."""
        name, origin, value = given.name, given.origin, given.value
        if name in self._names.settings:
            self._setting(given)
            return
        if isinstance(value, Word):
            value = toml_value(value)
        if name in NAMES:  # a parameter that yields to a plugin's name
            if name not in self._names.sizes and value is not None:
                with self._problems.collecting():
                    self.run.setdefault(name, ConfigValue(read_parameter(name, value, origin), origin))
                return
        elif "." in name and name not in self._names.modes:
            name, _, key = name.rpartition(".")
            value = {key: value}
            if name.endswith(".options"):
                name, value = name.removesuffix(".options"), {"options": value}
        if value is None or (isinstance(value, Mapping) and not value):
            if name not in self._names.modes:
                self._is_known("size", name, origin)
        elif isinstance(value, Mapping):
            self._table(name, value, origin)
        else:
            self._size(name, value, origin)

    def _setting(self, given: Given) -> None:
        setting, owner = self._names.settings[given.name]
        if given.value is None:
            return
        try:
            self.values.setdefault(given.name, ConfigValue(_typed(setting, given, owner), given.origin))
        except ConfigError as error:
            self._problems.add(error)
            self.unreadable.append(given.name)

    def _size(self, name: str, value: object, origin: str) -> None:
        text = not isinstance(value, int)  # a size never is, so a setting may be meant
        if not self._is_known("size or setting" if text else "size", name, origin):
            return
        try:
            self._keep(self.sizes, name, name, ConfigValue(read_number(name, value, origin), origin))
        except ConfigError as error:
            self._problems.add(error)
            self.unreadable.append(name)

    def _table(self, name: str, table: Mapping[str, Any], origin: str) -> None:
        if "size" in table:
            self._size(name, table["size"], origin)
        rest = {key: value for key, value in table.items() if key != "size"}
        if rest and self._is_known("mode", name, origin, rest):
            for key, value in rest.items():
                with self._problems.collecting():
                    for full, checked in _mode_values(key, value, f"{name} ({origin})"):
                        kept = self.modes.setdefault(name, {})
                        self._keep(kept, full, f"{name}.{full}", ConfigValue(checked, origin))

    def _keep(self, kept: dict[str, ConfigValue[Any]], key: str, name: str, one: ConfigValue[Any]) -> None:
        """Keep a value if no higher source gives it; one source may write it in two ways, as tensor and tensor.size."""
        first = kept.setdefault(key, one)
        if first.origin == one.origin and first.value != one.value:
            twice = f"{shown(first.value)} and {shown(one.value)}"
            self._problems.add(ConfigError(f"{name!r} is given twice ({one.origin}): {twice}. Remove one."))

    def _is_known(self, what: str, name: str, origin: str, table: Mapping[str, Any] | None = None) -> bool:
        """Return True if a name is that of a size, or of a mode; else add the error."""
        names = self._names
        known = names.modes if what == "mode" else names.sizes
        if name in known:
            return True
        if what != "mode" and names.settings:
            known, what = {*known, *names.settings}, "size or setting"
        reason = names.off.get(name)
        if reason:
            hint = f": plugin {name!r} is {reason}."
        elif what != "mode" and name in names.modes:
            hint = f": {name!r} is a mode, whose groups follow from sizes. {did_you_mean(name, known)}"
        elif table and all(key in names.sizes for key in table):
            hint = f". Give each by its own name: {', '.join(f'{key}={shown(value)}' for key, value in table.items())}."
        else:
            hint = f". {did_you_mean(name, known)}{perhaps_off(name, known, names.off)}{names.missing(name)}"
        text = f"There is no {what} {name!r} ({origin}){hint}"
        self._problems.add(ConfigError(text, plugin=name if reason else None))
        return False


def perhaps_off(name: str, known: Iterable[str], reasons: Mapping[str, str]) -> str:
    """Return the plugins that are off with the reasons, of which one may have a name that is like no other.

    >>> perhaps_off("shard", ["data"], {"hsdp": "off until enabled"})
    " No plugin that is on declares it; 'hsdp' is off until enabled."
    """
    off = [f"{plugin!r} is {reason}" for plugin, reason in reasons.items()]
    if not off or did_you_mean(name, known).startswith("Did you mean"):
        return ""
    more = [f"{len(off) - SHOWN} more are off"] if len(off) > SHOWN else []
    return f" No plugin that is on declares it; {listing([*off[:SHOWN], *more])}."


def _typed(setting: Setting, given: Given, owner: str) -> Any:
    """Return the value of a setting; raise ConfigError if it has another type, or is none of the choices."""
    value = given.value
    if isinstance(value, Word) and not isinstance(setting.default, str):
        value = toml_value(value)
        value = bool(value) if isinstance(setting.default, bool) and given.value in ("0", "1") else value
    typed = typed_like(value, setting.default)
    if typed is not None and (setting.choices is None or typed in setting.choices):
        return typed
    default = f"The default is {shown(setting.default)}"
    rule = RULES[type(setting.default)] if setting.choices is None else listing(map(shown, setting.choices), "or")
    shown_value = shown(str(value) if isinstance(value, Word) else value)
    raise ConfigError(f"{given.name} = {shown_value} ({given.origin}) must be {rule}. {default} ({owner}).")


def _mode_values(key: object, value: object, what: str) -> Iterable[tuple[str, object]]:
    """Yield what one key of a mode's table gives; raise ConfigError if the mode cannot have it."""
    match key:
        case "backend":
            yield key, check_backend(value, what, error=ConfigError)
        case "timeout":
            yield key, check_timeout(value, what, error=ConfigError)
        case "cpu" | "dedicated":
            if not isinstance(value, bool):
                raise ConfigError(f"{what} has {key} = {shown(value)}; it must be true or false.")
            yield key, value
        case "options":
            if not isinstance(value, Mapping) or not all(is_plain_option(*one) for one in value.items()):
                rule = "it must be a mapping of names to numbers, texts, true, false or None"
                raise ConfigError(f"{what} has options = {shown(value)}; {rule}.")
            yield from ((OPTION + name, one) for name, one in value.items())
        case _:
            hint = did_you_mean(key if isinstance(key, str) else shown(key), ("size", *MODE_SETTINGS, "options"))
            raise ConfigError(f"{what} has {shown(key)}, which is not a setting of a mode. {hint}")
