"""Values of the parameters of `plan()` and `init()`, each read from any source in its one form."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from pgregistry.errors import ConfigError
from pgregistry.settings.ranks import read_hosts, read_ranks
from pgregistry.values import LARGEST, LONGEST, exhaust, is_seconds, shown, whole_number
from pgregistry.vocabulary import Mode


def read_parameter(name: str, value: object, origin: str, world_size: int = LARGEST) -> Any:
    """Return the value of a parameter.

    >>> read_parameter("order", "data,tensor", "PGREGISTRY_ORDER"), read_parameter("within", "0-2,5", "keyword", 8)
    (('data', 'tensor'), (0, 1, 2, 5))

    Raises:
        ConfigError: with the value, its origin and the rule.
    """
    match name:
        case "order" | "only" | "enable" | "disable" | "require":
            return _names(name, value, origin)
        case "plugins":
            return _plugins(name, value, origin)
        case "ranks_per_host" | "hosts_per_domain":
            return read_number(name, value, origin)
        case "within":
            return _ranks(name, value, origin, world_size)
        case "hosts":
            return _hosts(name, value, origin, world_size)
        case "extra":
            return _modes(name, value, origin)
        case "timeout" | "agree_timeout" | "build_timeout":
            if not is_seconds(value):
                raise refused(name, value, origin, f"a number of seconds from 0.001 to {LONGEST}")
            return float(value)
        case "watch":
            if not is_seconds(value) and (isinstance(value, bool) or not isinstance(value, int | float) or value != 0):
                raise refused(name, value, origin, f"a number of seconds from 0.001 to {LONGEST}, or 0 for none")
            return float(value)
        case "cpu":
            if not isinstance(value, bool):
                raise refused(name, value, origin, "true or false")
        case "backend":
            if not isinstance(value, str) or not value:
                raise refused(name, value, origin, "the name of a torch backend, such as 'gloo'")
            return value.lower()
        case "expect":
            return _path(name, value, origin, "a fingerprint, or the path of a plan's JSON")
        case "watch_dir":
            return _path(name, value, origin, "the path of a folder")
    return value  # a device, which torch reads


def read_number(name: str, value: object, origin: str) -> int:
    """Return a size, or the number of ranks or hosts of something."""
    number = whole_number(value)
    if number is None or not 1 <= number <= LARGEST:
        raise refused(name, value, origin, f"a whole number from 1 to {LARGEST}")
    return number


def refused(name: str, value: object, origin: str, rule: str) -> ConfigError:
    """Return the error about a value that must be something else."""
    return ConfigError(f"{name} = {shown(value)} ({origin}) must be {rule}.")


def _path(name: str, value: object, origin: str, rule: str) -> str:
    try:
        path: object = os.fspath(value)  # type: ignore[call-overload]
    except Exception:  # of a class of anybody's
        path = None
    if not isinstance(path, str) or not path:
        raise refused(name, value, origin, rule)
    return path


def _items(name: str, value: object, origin: str) -> tuple[Any, ...] | None:
    """Return what an iterable yields, None if it is not one."""
    return exhaust(value, f"{name} ({origin})", error=ConfigError) if isinstance(value, Iterable) else None


def _names(name: str, value: object, origin: str) -> tuple[str, ...]:
    if isinstance(value, str):
        separator = r"[,\s]+"
        if name == "require":  # may hold commas of its own, as in pgregistry-expert>=1,<2; and spaces in a marker
            separator = r",\s*(?=[A-Za-z_])" if ";" in value else r"[,\s]+(?=[A-Za-z_])"
        value = [word for word in re.split(separator, value.strip(" ,")) if word]
    items = _items(name, value, origin)
    if items is None or not all(isinstance(item, str) for item in items):
        raise refused(name, value, origin, "a list of names, or a text of names with commas between them")
    return items


def _plugins(name: str, value: object, origin: str) -> tuple[object, ...]:
    """Return names of modules, and objects if a keyword gives them."""
    if isinstance(value, str):
        return _names(name, value, origin)
    objects = origin == "keyword"
    items = _items(name, value, origin)
    if items is None or not (objects or all(isinstance(item, str) for item in items)):
        modules = "a list of modules, as lab.modes or lab.modes:plugin"
        raise refused(name, value, origin, f"{modules}{', or of objects' * objects}")
    return items


def _ranks(name: str, value: object, origin: str, world_size: int) -> tuple[int, ...]:
    listed = read_ranks(value, world_size) if isinstance(value, str) else value
    items = _items(name, listed, origin) or ()
    ranks = [rank for rank in map(whole_number, items) if rank is not None and 0 <= rank < world_size]
    if not ranks or len(set(ranks)) != len(items):
        shown_value = value if isinstance(value, str) or not items else list(items)
        raise refused(name, shown_value, origin, f"different ranks from 0 to {world_size - 1}")
    return tuple(ranks)


def _hosts(name: str, value: object, origin: str, world_size: int) -> tuple[tuple[int, ...], ...]:
    listed, why = value, ""
    if isinstance(value, str):
        try:
            listed = read_hosts(value, world_size)
        except ConfigError as error:
            listed, why = None, f"; it {error}"
    items = [_items(name, host, origin) or () for host in _items(name, listed, origin) or ()]
    hosts = [tuple(rank for rank in map(whole_number, host) if rank is not None) for host in items]
    ranks = {rank for host in hosts for rank in host if 0 <= rank < world_size}
    if not hosts or not all(hosts) or len(ranks) != sum(map(len, items)):
        rule = f"a list of ranks for each host, each rank from 0 to {world_size - 1} once{why}"
        raise refused(name, value, origin, rule)
    return tuple(hosts)


def _modes(name: str, value: object, origin: str) -> tuple[Mode, ...]:
    items = (value,) if isinstance(value, Mode) else _items(name, value, origin)
    if items is None or isinstance(value, str):
        raise refused(name, value, origin, "a list of modes")
    for item in items:
        if not isinstance(item, Mode):
            raise ConfigError(f"{name} ({origin}) contains {shown(item)}, which must be a Mode.")
    return items
