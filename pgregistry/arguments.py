"""Checks of what plugin authors and users pass, each with a message that shows the value."""

from __future__ import annotations

from collections.abc import Iterable

from pgregistry.errors import PluginError


def check_timeout(timeout: object, what: str, name: str = "timeout") -> float | None:
    """The timeout in seconds, or None; PluginError for what cannot be one."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise PluginError(f"{what} has {name}={timeout!r}; it takes a number of seconds above 0.")
    return float(timeout)


def check_backend(backend: object, what: str) -> str | None:
    """The backend's name, or None; PluginError for what cannot be one."""
    if backend is None:
        return None
    if not isinstance(backend, str) or not backend:
        raise PluginError(f"{what} has backend={backend!r}; it takes the name of a torch backend, as 'gloo'.")
    return backend.lower()


def flag(key: str, value: object, what: str) -> bool:
    """True or False as given; PluginError for anything else."""
    if not isinstance(value, bool):
        raise PluginError(f"{what} has {key}={value!r}; it takes True or False.")
    return value


def check_size_name(name: object, what: str) -> None:
    """Refuse a name that users could not write as a keyword."""
    if not isinstance(name, str) or not name.isidentifier():
        raise PluginError(f"{what}: {name!r} cannot name a size, which users write as a Python keyword (tensor=2).")


def names(names: str | Iterable[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)


def positions(at: int | Iterable[int], what: str) -> tuple[int, ...]:
    """One position or several, each once."""
    positions = (at,) if isinstance(at, int) else tuple(at)
    if not positions or any(isinstance(p, bool) or not isinstance(p, int) for p in positions):
        raise PluginError(f"{what} has at={at!r}; it takes positions in a group, as (0, -1).")
    return tuple(dict.fromkeys(positions))
