"""Checks of what plugin authors and users pass, each with a message that shows the value."""

from __future__ import annotations

import keyword
import operator
from collections.abc import Iterable
from typing import Any, Final

from pgregistry.errors import PluginError

#: A year, in seconds: torch keeps timeouts in milliseconds, and nobody waits longer.
LONGEST: Final = 366 * 24 * 3600
#: Beyond this the arithmetic of groups is no longer done at once, and no world is so large.
LARGEST: Final = 1 << 40


def check_timeout(timeout: object, what: str, name: str = "timeout") -> float | None:
    """The timeout in seconds, or None; PluginError for what cannot be one."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0.001 <= timeout <= LONGEST:
        raise PluginError(f"{what} has {name}={timeout!r}; it takes a number of seconds from 0.001 to {LONGEST}.")
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
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise PluginError(f"{what}: {name!r} cannot name a size, which users write as a keyword argument (tensor=2).")


def names(names: str | Iterable[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    given = (names,) if isinstance(names, str) else names
    listed = tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(name, str) for name in listed):
        raise PluginError(f"{names!r} is neither a name nor a list of names.")
    return listed


def positions(at: int | Iterable[int], what: str) -> tuple[int, ...]:
    """One position or several, each once."""
    positions = (at,) if isinstance(at, int) else tuple(at)
    if not positions or any(isinstance(p, bool) or not isinstance(p, int) for p in positions):
        raise PluginError(f"{what} has at={at!r}; it takes positions in a group, as (0, -1).")
    return tuple(dict.fromkeys(positions))


def whole_number(value: Any) -> int | None:
    """A whole number of any kind (numpy's too) as an int; None for what is none, such as True or 2.0."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def shown(value: object) -> str:
    """A value for a message; the middle of a very long one is left out."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out whole numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:40]}… ({len(text)} characters)"
