"""Checks of values that plugin authors and users pass; each error shows the value.

Each check raises PluginError, or the class that is passed as `error` if a user gave the value.
"""

from __future__ import annotations

import keyword
import operator
from collections.abc import Iterable, Mapping
from itertools import islice
from math import isfinite
from typing import Any, Final, TypeGuard, TypeVar

from pgregistry.errors import PgregistryError, PluginError, describe

#: One year in seconds; torch keeps timeouts in milliseconds.
LONGEST: Final = 366 * 24 * 3600
#: The largest world, size and position: beyond it the arithmetic of groups is no longer fast.
LARGEST: Final = 1 << 40
#: Characters of a text that is a setting, the largest number with a fraction, and bits of a number that is an option.
MOST_TEXT: Final = 1000
LARGEST_FLOAT: Final = 1e300
OPTION_BITS: Final = 64
#: Items of a list above which it counts as endless.
MOST_ITEMS: Final = 1 << 22

T = TypeVar("T")


def plain(value: Any, depth: int = 3) -> Any:
    """Return texts, numbers and containers of derived classes as Python's own, in which nothing can raise.

    Other values are returned as they are, and so are containers in more than `depth` others.
    """
    match value:
        case bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case list() if depth:
            return [plain(one, depth - 1) for one in list.__iter__(value)]
        case tuple() if depth:
            return tuple(plain(one, depth - 1) for one in tuple.__iter__(value))
        case dict() if depth:
            return {plain(key): plain(one, depth - 1) for key, one in dict.items(value)}
    return value


def check_timeout(
    timeout: object, what: str, name: str = "timeout", *, error: type[PgregistryError] = PluginError
) -> float | None:
    """Return the timeout in seconds, or None if none is given.

    >>> check_timeout(60, "Mode('tensor')")
    60.0
    """
    if timeout is None:
        return None
    if not is_seconds(timeout):
        raise error(f"{what} has {name}={shown(timeout)}; it must be a number of seconds from 0.001 to {LONGEST}.")
    return float(timeout)


def is_seconds(value: object) -> TypeGuard[float]:
    """Return True if a value is a number of seconds that torch can keep."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0.001 <= value <= LONGEST


def check_backend(backend: object, what: str, *, error: type[PgregistryError] = PluginError) -> str | None:
    """Return the backend's name in lower case, or None if none is given."""
    if backend is None:
        return None
    if not isinstance(backend, str) or not backend:
        raise error(f"{what} has backend={shown(backend)}; it must be the name of a torch backend, such as 'gloo'.")
    return backend.lower()


def check_flag(key: str, value: object, what: str) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool):
        raise PluginError(f"{what} has {key}={shown(value)}; it must be True or False.")
    return value


def check_size_name(name: object, what: str, kind: str = "size") -> None:
    """Raise PluginError if users could not write the name as a keyword argument."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        rule = "be an identifier and not a keyword of Python, because users write it as an argument (tensor=2)"
        raise PluginError(f"{what}: {shown(name)} cannot name a {kind}; it must {rule}.")


def check_mode(
    name: object, over: object, kept: Mapping[str, object], groups: object, sizes: object, what: str
) -> None:
    """Raise PluginError if a mode has no name for one line, or arguments that contradict each other."""
    if not isinstance(name, str) or not name.isprintable() or not name or name != name.strip():
        raise PluginError(f"{what} must have a name that can be printed on one line, without spaces around it.")
    if (over is None) == (groups is None):
        raise PluginError(f"{what} needs exactly one of over= and groups=.")
    if groups is not None and not callable(groups):
        raise PluginError(f"{what} has groups={shown(groups)}; it must be a function of the mesh.")
    if groups is None and sizes != ():
        raise PluginError(f"{what} must not have both sizes= and over=; over= declares its own sizes.")
    for key, given in kept.items():
        if groups is not None and given is not None:
            way_out = "the function itself can return only those ranks"
            raise PluginError(f"{what} must not have both {key}= and groups=; {way_out}.")


def check_parts(inner: object, outer: object, what: str) -> None:
    """Raise PluginError if these cannot name the parts of a split."""
    if inner is None and outer is None:
        raise PluginError(f"{what} must name its inner or its outer part, as in inner='zero1'.")
    for name in (inner, outer):
        if name is not None:
            check_size_name(name, what)
    if inner == outer:
        raise PluginError(f"{what} has inner={inner!r} and outer={outer!r}; its parts must have different names.")


def check_default_size(size: object, special: tuple[object, ...], what: str) -> None:
    """Raise PluginError if `size` is not a number, the name of another size or one of `special`."""
    named = isinstance(size, str) and bool(size)
    number = isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= LARGEST
    if not named and not number and all(size is not one for one in special):
        rule = f"must be a number from 1, {', '.join(map(repr, special))} or the name of a size"
        raise PluginError(f"{what} has size={shown(size)}; it {rule}.")


def check_names(key: str, given: object, what: str) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    names: tuple[Any, ...] = exhaust(given, f"{what}: {key}") if several else (given,)  # type: ignore[arg-type]
    if not all(isinstance(name, str) for name in names):
        raise PluginError(f"{what} has {key}={shown(given)}; it must be a name or a list of names.")
    return names


def check_positions(at: object, what: str) -> tuple[int, ...]:
    """Return one position of a group or several, each once."""
    positions = exhaust(at, f"{what}: at") if isinstance(at, Iterable) else (at,)
    if not positions or any(isinstance(p, bool) or not isinstance(p, int) or abs(p) > LARGEST for p in positions):
        raise PluginError(f"{what} has at={shown(at)}; it must be positions in a group, such as (0, -1).")
    return tuple(dict.fromkeys(positions))


def check_where(where: object, what: str) -> dict[str, int]:
    """Return positions of axes and parts by their names.

    >>> check_where({"pipe": -1}, "Mode('loss')"), check_where(None, "Mode('loss')")
    ({'pipe': -1}, {})
    """
    if where is None:
        return {}
    given = exhaust(where.items(), f"{what}: where") if isinstance(where, Mapping) else ((None, None),)
    positions: dict[str, int] = {}
    for name, value in given:
        position = whole_number(value)
        if isinstance(name, str) and position is not None and abs(position) <= LARGEST:
            positions[name] = position
    if len(positions) < len(given):
        rule = "it must map the names of axes or parts to positions, as in {'pipe': -1}"
        raise PluginError(f"{what} has where={shown(where)}; {rule}.")
    return positions


def check_options(options: object, what: str) -> dict[str, object]:
    """Return backend options by their names.

    >>> check_options({"max_ctas": 8}, "Mode('tensor')"), check_options(None, "Mode('tensor')")
    ({'max_ctas': 8}, {})
    """
    if options is None:
        return {}
    given = exhaust(options.items(), f"{what}: options") if isinstance(options, Mapping) else ((None, None),)
    if not all(is_plain_option(*one) for one in given):
        rule = "it must map names to numbers, texts, True, False or None"
        raise PluginError(f"{what} has options={shown(options)}; {rule}.")
    return dict(given)


def whole_number(value: Any) -> int | None:
    """Return `value` as an int if it is an integer (numpy's included), else None. Bools are not integers here."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # of a class of anybody's
        return None


def is_plain_option(key: object, value: object) -> bool:
    """Return True if a backend option is a name with a value that JSON has."""
    plain = isfinite(value) if isinstance(value, float) else isinstance(value, bool | int | str | None)
    return isinstance(key, str) and plain and (not isinstance(value, int) or int.bit_length(value) <= OPTION_BITS)


def typed_like(value: object, default: Any) -> Any:
    """Return a setting's value in the type of its default, or None if it has another type.

    >>> typed_like(2, 0.5), typed_like(2, 1), typed_like(True, 1), typed_like("fast", "slow"), typed_like(2, "slow")
    (2.0, 2, None, 'fast', None)
    """
    if isinstance(default, bool) or isinstance(value, bool):
        return value if isinstance(default, bool) and isinstance(value, bool) else None
    if isinstance(default, str):
        return str(value) if isinstance(value, str) and value.isprintable() and len(value) <= MOST_TEXT else None
    if isinstance(default, int):
        number = whole_number(value)
        return number if number is not None and abs(number) <= LARGEST else None
    if isinstance(value, int | float) and abs(value) <= LARGEST_FLOAT:
        return float(value)
    return None


def check_setting(name: object, default: Any, choices: object, about: object) -> tuple[Any, ...] | None:
    """Return the choices of a setting, in the type of its default."""
    what = f"Setting({shown(name)})"
    check_size_name(name, what, "setting")
    if not isinstance(default, str | bool | int | float) or typed_like(default, default) is None:
        rule = f"a printable text of at most {MOST_TEXT} characters, True, False or a number"
        raise PluginError(f"{what} has default={shown(default)}; it must be {rule}.")
    if not isinstance(about, str):
        raise PluginError(f"{what} has help={shown(about)}; it must be text.")
    if choices is None:
        return None
    given = exhaust(choices, f"{what}: choices") if isinstance(choices, Iterable) else ()
    typed = tuple(typed_like(one, default) for one in given)
    if not typed or None in typed or isinstance(choices, str):
        kind = type(default).__name__
        raise PluginError(f"{what} has choices={shown(choices)}; it must be a list of values of type {kind}.")
    if default not in typed:
        raise PluginError(f"{what} has default={shown(default)}; it must be one of its choices {shown(typed)}.")
    return typed


def exhaust(given: Iterable[T], what: str, *, error: type[PgregistryError] = PluginError) -> tuple[T, ...]:
    """Return what an iterable of any origin yields.

    Raises:
        PgregistryError: `error`, if it raises, or yields more than `MOST_ITEMS`.
    """
    try:
        taken = tuple(islice(given, MOST_ITEMS + 1))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # not all is an Exception
        raise error(f"{what} raised {describe(failure)}") from failure
    if len(taken) > MOST_ITEMS:
        raise error(f"{what} yielded more than {MOST_ITEMS} items; it must end.")
    return taken


def shown(value: object) -> str:
    """Return a value as text for a message, without the middle of a very long one."""
    try:
        text = repr(value)
    except ValueError:  # Python does not convert integers of thousands of digits
        return "a number of thousands of digits"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of a class of anybody's, or nested too deeply
        return f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return text if len(text) <= 80 else f"{text[:40]}… ({len(text)} characters)"
