"""Settings of a run: keywords, command line, environment and file merged, each value with its origin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

from pgregistry.errors import ConfigError, Problems, did_you_mean
from pgregistry.settings.options import PLAN_OPTIONS, RESERVED, TEXT_OPTIONS
from pgregistry.settings.ranks import read_hosts
from pgregistry.settings.sources import Source, from_environment, from_file, reserved
from pgregistry.values import LARGEST, check_backend, check_timeout, exhaust, shown, whole_number
from pgregistry.vocabulary import Mode

T = TypeVar("T")

MODE_SETTINGS: Final = ("backend", "timeout", "cpu", "dedicated")
#: Origins of sizes that no source gives.
LEFT: Final = "what is left"
DEFAULT: Final = "plugin default"


@dataclass(frozen=True, slots=True)
class ConfigValue(Generic[T]):
    """A value and its origin, as in `tensor = 2 (command line)`."""

    value: T
    origin: str


Sizes: TypeAlias = Mapping[str, ConfigValue[int]]
Order: TypeAlias = ConfigValue[tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was given, from the highest source first: keywords, command line, environment, file.

    Attributes:
        sizes: By size name.
        modes: By mode name: backend, timeout (seconds), cpu and dedicated.
        order: Axes, outermost first.
        enable, disable, require: Names (requirements) with their origin, from all sources together.
        only: From the highest source that gives it.
        ranks_per_host: Number of ranks on each host.
        hosts: The ranks of each host.
        hosts_per_domain: Number of hosts in each domain.
        within: The ranks that the plan lives on, in this order. None for all ranks in ascending order.
        extra: Modes given as objects.
        unreadable: Names of sizes whose value is not a size.
        mentioned: Sizes given as None or {}, with their origin.
    """

    sizes: Sizes = field(default_factory=dict)
    modes: Mapping[str, Mapping[str, ConfigValue[Any]]] = field(default_factory=dict)
    order: Order = None
    enable: Mapping[str, str] = field(default_factory=dict)
    disable: Mapping[str, str] = field(default_factory=dict)
    require: Mapping[str, str] = field(default_factory=dict)
    only: ConfigValue[tuple[str, ...]] | None = None
    ranks_per_host: ConfigValue[int] | None = None
    hosts: ConfigValue[tuple[tuple[int, ...], ...]] | None = None
    hosts_per_domain: ConfigValue[int] | None = None
    within: ConfigValue[tuple[int, ...]] | None = None
    extra: tuple[Mode, ...] = ()
    unreadable: tuple[str, ...] = ()
    mentioned: Mapping[str, str] = field(default_factory=dict)


def read_settings(
    problems: Problems,
    *,
    keywords: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    origin: str = "keyword",
    world_size: int = LARGEST,
) -> Settings:
    """Merge all sources, and add to `problems` each value that cannot be read.

    >>> settings = read_settings(Problems(), keywords={"pipe": 2}, environ={"PGREGISTRY": "pipe=4 tensor=2"})
    >>> settings.sizes["pipe"], settings.sizes["tensor"]
    (ConfigValue(value=2, origin='keyword'), ConfigValue(value=2, origin='PGREGISTRY'))

    Args:
        problems: Where to add what is wrong.
        keywords: The keywords of `plan` or `init`, in which None stands for what was not given.
        command_line: The same names as typed by the user.
        environ: Environment variables; None for those of this process.
        origin: What errors and the plan call the keywords.
        world_size: The number of ranks, if known: ranks in `within` must be below it.
    """
    sources = [
        Source(keywords or {}, origin, PLAN_OPTIONS, {}),
        Source(command_line or {}, "command line", frozenset(TEXT_OPTIONS), {}),
        from_environment(os.environ if environ is None else environ, problems),
    ]
    if naming := next((source for source in sources if _is_given(source.values.get("config"))), None):
        sources.append(from_file(naming.values["config"], naming.origin_of("config"), problems))
    merger = _Merger(problems, world_size)
    for source in sources:
        for name, value in source.values.items():
            merger.merge(source, name, value)
    return Settings(**merger.fields)


class _Merger:
    """Takes values from the highest source to the lowest: of two values for one name the first counts."""

    def __init__(self, problems: Problems, world_size: int) -> None:
        self.fields: dict[str, Any] = {"unreadable": ()}
        self.fields |= {name: {} for name in ("sizes", "modes", "enable", "disable", "require", "mentioned")}
        self._problems = problems
        self._world_size = world_size

    def merge(self, source: Source, name: str, value: Any) -> None:
        """Take one value of a source."""
        origin = source.origin_of(name)
        if name in RESERVED and (value is None or name not in source.options):
            if value is not None:
                self._problems.add(reserved(name, origin))
            return
        match name:
            case "config":
                pass  # read already, as a source of its own
            case "enable" | "disable" | "require":
                for given in self._names(name, value, origin):
                    self.fields[name].setdefault(given, origin)
            case "order" | "only":
                self.fields.setdefault(name, ConfigValue(self._names(name, value, origin), origin))
            case "ranks_per_host" | "hosts_per_domain":
                if (number := self._number(name, value, origin)) is not None:
                    self.fields.setdefault(name, ConfigValue(number, origin))
            case "hosts":
                if (hosts := self._hosts(name, value, origin)) is not None:
                    self.fields.setdefault(name, ConfigValue(hosts, origin))
            case "within":
                if (ranks := self._ranks(name, value, origin)) is not None:
                    self.fields[name] = ConfigValue(ranks, origin)
            case "extra":
                self.fields[name] = self._modes(name, value, origin)
            case _ if value is None:
                self.fields["mentioned"][name] = origin
            case _ if isinstance(value, Mapping):
                self._table(name, value, origin)
            case _:
                self._size(name, value, origin)

    def _size(self, name: str, value: object, origin: str) -> None:
        number = self._number(name, value, origin)
        if number is None:
            self.fields["unreadable"] += (name,)
        else:
            self.fields["sizes"].setdefault(name, ConfigValue(number, origin))

    def _table(self, name: str, table: Mapping[str, Any], origin: str) -> None:
        if not table:
            self.fields["mentioned"][name] = origin
        for key, value in table.items():
            if key == "size":
                self._size(name, value, origin)
                continue
            with self._problems.collecting():
                checked = _mode_value(key, value, f"{name} ({origin})")
                self.fields["modes"].setdefault(name, {}).setdefault(key, ConfigValue(checked, origin))

    def _number(self, name: str, value: object, origin: str) -> int | None:
        number = whole_number(value)
        if number is None or not 1 <= number <= LARGEST:
            self._refuse(name, value, origin, f"a whole number from 1 to {LARGEST}")
            return None
        return number

    def _names(self, name: str, value: object, origin: str) -> tuple[str, ...]:
        if isinstance(value, str):
            # A requirement may hold commas of its own, as in pgregistry-expert>=1,<2.
            separator = r"[,\s]+(?=[A-Za-z_])" if name == "require" else r"[,\s]+"
            value = [word for word in re.split(separator, value.strip(" ,")) if word]
        items = self._items(name, value, origin)
        if items is None or not all(isinstance(item, str) for item in items):
            self._refuse(name, value, origin, "a list of names, or a text of names with commas between them")
            return ()
        return items

    def _ranks(self, name: str, value: object, origin: str) -> tuple[int, ...] | None:
        """Return the ranks of `within`, None for all of them in ascending order."""
        items = self._items(name, value, origin) or ()
        ranks = [rank for rank in map(whole_number, items) if rank is not None and 0 <= rank < self._world_size]
        if not ranks or len(set(ranks)) != len(items):
            shown_value = value if isinstance(value, str) or not items else list(items)
            self._refuse(name, shown_value, origin, f"different ranks from 0 to {self._world_size - 1}")
            return None
        everyone = len(ranks) == self._world_size and ranks == list(range(self._world_size))
        return None if everyone else tuple(ranks)

    def _hosts(self, name: str, value: object, origin: str) -> tuple[tuple[int, ...], ...] | None:
        why, given = "", value
        if isinstance(value, str):
            try:
                given = read_hosts(value, self._world_size)
            except ConfigError as error:
                why = f"; it {error}"
        listed = None if isinstance(given, str) else self._items(name, given, origin)
        items = [self._items(name, host, origin) or () for host in listed or ()]
        hosts = [tuple(rank for rank in map(whole_number, host) if rank is not None) for host in items]
        ranks = {rank for host in hosts for rank in host if 0 <= rank < self._world_size}
        if not hosts or not all(hosts) or len(ranks) != sum(map(len, items)):
            rule = f"a list of ranks for each host, each rank from 0 to {self._world_size - 1} once{why}"
            self._refuse(name, value, origin, rule)
            return None
        return tuple(hosts)

    def _modes(self, name: str, value: object, origin: str) -> tuple[Mode, ...]:
        items = (value,) if isinstance(value, Mode) else self._items(name, value, origin)
        if items is None or isinstance(value, str):
            self._refuse(name, value, origin, "a list of modes")
            return ()
        for item in items:
            if not isinstance(item, Mode):
                self._problems.add(ConfigError(f"{name} ({origin}) contains {shown(item)}, which must be a Mode."))
        return tuple(item for item in items if isinstance(item, Mode))

    def _items(self, name: str, value: object, origin: str) -> tuple[Any, ...] | None:
        """Return what an iterable yields, None if it is not one."""
        if not isinstance(value, Iterable):
            return None
        try:
            return exhaust(value, f"{name} ({origin})", error=ConfigError)
        except ConfigError as error:
            self._problems.add(error)
            return ()

    def _refuse(self, name: str, value: object, origin: str, rule: str) -> None:
        self._problems.add(ConfigError(f"{name} = {shown(value)} ({origin}) must be {rule}."))


def _mode_value(key: object, value: object, what: str) -> object:
    """Return the value of one key of a mode's table; raise ConfigError if the mode cannot have it."""
    match key:
        case "backend":
            return check_backend(value, what, error=ConfigError)
        case "timeout":
            return check_timeout(value, what, error=ConfigError)
        case "cpu" | "dedicated":
            if not isinstance(value, bool):
                raise ConfigError(f"{what} has {key} = {shown(value)}; it must be true or false.")
            return value
    hint = did_you_mean(key if isinstance(key, str) else shown(key), ("size", *MODE_SETTINGS))
    raise ConfigError(f"{what} has {shown(key)}, which is not a setting of a mode. {hint}")


def _is_given(config: object) -> bool:
    return config is not None and not (isinstance(config, str) and not config)
