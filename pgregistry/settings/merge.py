"""Settings of a run: keywords, command line, environment and file merged, each value with its origin."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pgregistry.errors import Problems
from pgregistry.settings.options import NAMES, OF_INIT, RESERVED, TEXT_OPTIONS
from pgregistry.settings.parameters import read_parameter
from pgregistry.settings.sources import Source, from_environment, from_file, reserved
from pgregistry.values import LARGEST, plain
from pgregistry.vocabulary import Mode

T = TypeVar("T")

#: Origins of sizes that no source gives.
LEFT: Final = "what is left"
DEFAULT: Final = "plugin default"


@dataclass(frozen=True, slots=True)
class ConfigValue(Generic[T]):
    """A value and its origin, as in `tensor = 2 (command line)`."""

    value: T
    origin: str


@dataclass(frozen=True, slots=True)
class Given:
    """A value that is given by name: of a size, a setting or a mode, which is not known before plugins are loaded."""

    name: str
    value: Any
    origin: str


Sizes: TypeAlias = Mapping[str, ConfigValue[int]]
Order: TypeAlias = ConfigValue[tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was given, from the highest source first: keywords, command line, environment, file.

    Attributes:
        given: What is given by name. `read_named` makes `sizes`, `values` and `modes` of it.
        sizes: By size name.
        values: By the name of a plugin's `Setting`; those that are not given have their default.
        modes: By mode name: backend, timeout (seconds), cpu, dedicated, and options as `options.NAME`.
        order: Axes, outermost first.
        enable, disable, require: Names (requirements) with their origin, from all sources together.
        plugins: Plugins that are not installed, as modules or objects, from all sources together.
        only: From the highest source that gives it.
        ranks_per_host: Number of ranks on each host.
        hosts: The ranks of each host.
        hosts_per_domain: Number of hosts in each domain.
        within: The ranks that the plan lives on, in this order. None for all ranks in ascending order.
        extra: Modes given as objects.
        run: The parameters of `init()` alone, by name, as far as they are given.
        unreadable: Names of sizes and settings whose value is not one.
    """

    given: tuple[Given, ...] = ()
    sizes: Sizes = field(default_factory=dict)
    values: Mapping[str, ConfigValue[Any]] = field(default_factory=dict)
    modes: Mapping[str, Mapping[str, ConfigValue[Any]]] = field(default_factory=dict)
    order: Order = None
    enable: Mapping[str, str] = field(default_factory=dict)
    disable: Mapping[str, str] = field(default_factory=dict)
    require: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[ConfigValue[Any], ...] = ()
    only: ConfigValue[tuple[str, ...]] | None = None
    ranks_per_host: ConfigValue[int] | None = None
    hosts: ConfigValue[tuple[tuple[int, ...], ...]] | None = None
    hosts_per_domain: ConfigValue[int] | None = None
    within: ConfigValue[tuple[int, ...]] | None = None
    extra: tuple[Mode, ...] = ()
    run: Mapping[str, ConfigValue[Any]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


def read_settings(
    problems: Problems,
    *,
    keywords: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    origin: str = "keyword",
    world_size: int = LARGEST,
    names: Collection[str] | None = None,
) -> Settings:
    """Merge all sources, and add to `problems` each parameter that cannot be read.

    >>> settings = read_settings(Problems(), keywords={"cpu": True}, environ={"PGREGISTRY_TIMEOUT": "60"})
    >>> settings.run["cpu"], settings.run["timeout"]
    (ConfigValue(value=True, origin='keyword'), ConfigValue(value=60.0, origin='PGREGISTRY_TIMEOUT'))

    Args:
        problems: Where to add what is wrong.
        keywords: The keywords of `plan` or `init`, in which None stands for what was not given.
        command_line: The same names as typed by the user.
        environ: Environment variables; None for those of this process.
        origin: What errors and the plan call the keywords.
        world_size: The number of ranks, if known: ranks in `within` and `hosts` must be below it.
        names: The names that count; None for all.
    """
    sources = [
        Source({name: plain(value) for name, value in (keywords or {}).items()}, origin, NAMES, {}),
        Source(command_line or {}, "command line", frozenset(TEXT_OPTIONS), {}),
        from_environment(os.environ if environ is None else environ, problems, world_size),
    ]
    if naming := next((source for source in sources if _is_given(source.values.get("config"))), None):
        sources.append(from_file(naming.values["config"], naming.origin_of("config"), problems))
    merger = _Merger(problems, world_size)
    for source in sources:
        for name, value in source.values.items():
            if names is None or name in names:
                merger.merge(source, name, value)
    return Settings(**merger.fields)


class _Merger:
    """Takes values from the highest source to the lowest: of two values for one name the first counts."""

    def __init__(self, problems: Problems, world_size: int) -> None:
        self.fields: dict[str, Any] = {name: {} for name in ("enable", "disable", "require", "run")}
        self.fields |= {"given": (), "plugins": ()}
        self._problems = problems
        self._world_size = world_size

    def merge(self, source: Source, name: str, value: Any) -> None:
        """Take one value of a source."""
        origin = source.origin_of(name)
        if name not in NAMES or name not in RESERVED:  # a parameter that came later yields to a plugin's name
            if name != "world_size":
                self.fields["given"] += (Given(name, value, origin),)
            elif value is not None:
                self._problems.add(reserved(name, origin))
        elif value is not None and name not in source.options:
            self._problems.add(reserved(name, origin))
        elif value is not None and name != "config":  # read already, as a source of its own
            with self._problems.collecting():
                self._keep(name, read_parameter(name, value, origin, self._world_size), origin)

    def _keep(self, name: str, value: Any, origin: str) -> None:
        match name:
            case "enable" | "disable" | "require":
                for given in value:
                    self.fields[name].setdefault(given, origin)
            case "plugins":
                for item in value:
                    if _named(item) not in (_named(one.value) for one in self.fields[name]):
                        self.fields[name] += (ConfigValue(item, origin),)
            case "within":
                everyone = len(value) == self._world_size and value == tuple(range(self._world_size))
                self.fields.setdefault(name, None if everyone else ConfigValue(value, origin))
            case "extra":
                self.fields[name] = value
            case _ if name in OF_INIT:
                self.fields["run"].setdefault(name, ConfigValue(value, origin))
            case _:
                self.fields.setdefault(name, ConfigValue(value, origin))


def _is_given(config: object) -> bool:
    return config is not None and not (isinstance(config, str) and not config)


def _named(plugin: object) -> object:
    """Return what two mentions of one plugin have in common: the name of its module, or the object itself."""
    name = getattr(plugin, "__name__", None) if isinstance(plugin, ModuleType) else plugin
    return name if isinstance(name, str) else id(plugin)
