"""Places where settings come from: the command line, environment variables, a TOML file."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems, clean, did_you_mean, listing
from pgregistry.settings.launchers import launcher
from pgregistry.settings.options import NAMES, TEXT_OPTIONS
from pgregistry.values import shown

log = logging.getLogger("pgregistry.settings")

PREFIX: Final = "PGREGISTRY_"
#: Variables that are not settings of a plan, each with the values it takes.
CHOICES: Final = {"PGREGISTRY_BUILD": ("name", "public"), "PGREGISTRY_TRACE": ("0", "1")}
#: The file that other tools have their settings in too: ours are those of its table `[tool.pgregistry]`.
PYPROJECT: Final = "pyproject.toml"
#: Parameters whose value is not text, which text writes as TOML does.
NOT_TEXT: Final = ("ranks_per_host", "hosts_per_domain", "timeout", "cpu", "agree_timeout", "build_timeout", "watch")


class Word(str):
    """The value of a NAME=VALUE word, as it stands. A size, a number and a table are read from it as from TOML."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Values from one place, under the names that `plan()` gives them.

    Attributes:
        values: By name.
        origin: Where they come from.
        options: The options that this place can give.
        origins: Where a value comes from if not from `origin`.
    """

    values: Mapping[str, Any]
    origin: str
    options: frozenset[str]
    origins: Mapping[str, str]

    def origin_of(self, name: str) -> str:
        """Return where the value of a name comes from."""
        return self.origins.get(name, self.origin)


def split_words(text: str) -> list[str]:
    """Return the NAME=VALUE words of the variable PGREGISTRY.

    Words end at spaces, but not inside a quoted word and not inside the braces of a table, whose own
    quotes are TOML's.

    >>> split_words("tensor=2 pipe=2")
    ['tensor=2', 'pipe=2']
    >>> split_words("zero1={size = 2, backend = 'gloo'} pipe=2")
    ["zero1={size = 2, backend = 'gloo'}", 'pipe=2']
    >>> split_words("'zero1={size = 2}' pipe=2")
    ['zero1={size = 2}', 'pipe=2']
    """
    if not text:
        return []  # the usual case, without patterns to compile
    quoted, bare, brace = r"'[^']*'|\"[^\"]*\"", r"[^\s{]+(?:\{[^}]*\}?)?", r"\{"
    words = re.findall(f"{quoted}|{bare}|{brace}", text)
    return [word[1:-1] if word[0] == word[-1] and word[0] in "'\"" else word for word in words]


def split_assignment(word: str, origin: str) -> tuple[str, str]:
    """Return the two sides of a NAME=VALUE word.

    >>> split_assignment("tensor=2", "command line")
    ('tensor', '2')

    Raises:
        ConfigError: if it is not such a word.
    """
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise ConfigError(f"{word!r} ({origin}) must have the form NAME=SIZE, as in tensor=2.")
    return name, text


def assignments(pairs: Iterable[tuple[str, str]], origin: str, problems: Problems) -> dict[str, Any]:
    """Return words by name.

    >>> assignments([("tensor", "4"), ("zero1.dedicated", "true")], "command line", Problems())
    {'tensor': '4', 'zero1.dedicated': 'true'}
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in NAMES or name == "world_size":
            problems.add(reserved(name, origin))
        elif name in values:
            twice = f"{shown(toml_value(values[name]))} and {shown(toml_value(text))}"
            problems.add(ConfigError(f"{name!r} is given twice ({origin}): {twice}. Remove one."))
        else:
            values[name] = Word(text)
    return values


def parameter(name: str, text: str) -> Any:
    """Return the value of a parameter that text gives; a flag may be 1 or 0.

    >>> parameter("timeout", "60"), parameter("cpu", "1"), parameter("order", "data,tensor")
    (60, True, 'data,tensor')
    """
    value = toml_value(text) if name in NOT_TEXT else text
    return bool(value) if name == "cpu" and text in ("0", "1") else value


def from_command_line(
    pairs: Iterable[tuple[str, str]], options: Mapping[str, Any], problems: Problems
) -> dict[str, Any]:
    """Return NAME=SIZE pairs and options as keywords of `pgregistry.init`; an empty option counts as not given."""
    values = assignments(pairs, "command line", problems)
    for name, given in options.items():
        text = ",".join(given) if isinstance(given, tuple) else given
        values[name] = parameter(name, text) if isinstance(text, str) and text else text or None
    return values


def toml_value(text: str) -> Any:
    """Return a value written as in TOML, or the text itself if it is not TOML.

    >>> toml_value("4"), toml_value("many")
    (4, 'many')
    """
    try:
        document = _read_toml(f"value = {text}")
    except (ValueError, RecursionError):  # TOMLDecodeError, or a number or table that Python refuses to read
        return text
    return document["value"] if len(document) == 1 else text


def from_environment(environ: Mapping[str, str], problems: Problems, world_size: int) -> Source:
    """Read PGREGISTRY, PGREGISTRY_DISABLE and so on; an empty variable counts as not set."""
    pairs = []
    for word in split_words(environ.get("PGREGISTRY", "")):
        with problems.collecting():
            pairs.append(split_assignment(word, "PGREGISTRY"))
    values = assignments(pairs, "PGREGISTRY", problems)
    origins = dict.fromkeys(values, "PGREGISTRY")
    try:
        launch = launcher.read(environ)
    except ConfigError as error:
        log.debug("planning needs no launcher, so its variables are ignored: %s", error)
        launch = None
    if launch and launch.ranks_per_host:
        values["ranks_per_host"] = launch.ranks_per_host
        origins["ranks_per_host"] = launch.ranks_per_host_from
    if launch and launch.hosts and launch.world_size == world_size:
        values["hosts"] = launch.hosts
        origins["hosts"] = launch.ranks_per_host_from
    for option in TEXT_OPTIONS:
        variable = PREFIX + option.upper()
        if text := environ.get(variable):
            values[option] = parameter(option, text)
            origins[option] = variable
    for variable in CHOICES:
        with problems.collecting():
            chosen(variable, environ)
    known = {*CHOICES, *(PREFIX + option.upper() for option in TEXT_OPTIONS)}
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        problems.add(_unread(variable, environ[variable], known))
    return Source(values, "environment", frozenset(TEXT_OPTIONS), origins)


def _unread(variable: str, value: str, known: Iterable[str]) -> ConfigError:
    """Return the error about a variable that nothing reads."""
    name = variable.removeprefix(PREFIX).lower()
    import difflib  # for an error alone

    if close := difflib.get_close_matches(variable, known, n=1, cutoff=0.9):
        hint = f"Did you mean {close[0]!r}?"
    else:
        hint = f'A size or a setting is written PGREGISTRY="{name}={clean(value, 60)}". {did_you_mean("", known)}'
    return ConfigError(f"Nothing reads {clean(variable, 200)}. {hint}")


def chosen(variable: str, environ: Mapping[str, str]) -> str | None:
    """Return the value of PGREGISTRY_BUILD or PGREGISTRY_TRACE, None if it is not set.

    >>> chosen("PGREGISTRY_BUILD", {"PGREGISTRY_BUILD": "public"})
    'public'

    Raises:
        ConfigError: if it is none of the values that the variable takes.
    """
    value, choices = environ.get(variable) or None, CHOICES[variable]
    if value is not None and value not in choices:
        hint = did_you_mean(value, choices) if variable == "PGREGISTRY_BUILD" else "1 is on, 0 is off."
        raise ConfigError(f"{variable} = {value!r} (environment) must be {listing(choices, 'or')}. {hint}")
    return value


def from_file(config: object, origin: str, problems: Problems) -> Source:
    """Read a TOML file."""
    values: dict[str, Any] = {}
    try:
        path: object = os.fspath(config)  # type: ignore[call-overload]
    except Exception:  # of a class of anybody's
        path = None
    if not isinstance(path, str):
        problems.add(ConfigError(f"config = {shown(config)} ({origin}) must be the path of a TOML file."))
        return Source(values, origin, frozenset(), {})
    try:
        values = _read_toml(Path(path).read_text(encoding="utf-8"))
        if Path(path).name == PYPROJECT:
            values = _tool_table(values, path, origin, problems)
    except OSError as error:
        problems.add(ConfigError(f"config = {path} ({origin}) cannot be read: {error.strerror or error}."))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one, as is a null byte in the path
        rule = "UTF-8" if isinstance(error, UnicodeDecodeError) else "valid TOML"
        problems.add(ConfigError(f"config = {path} ({origin}) must be {rule}: {error}."))
    # A file cannot name another file.
    return Source(values, path if values else origin, frozenset(TEXT_OPTIONS) - {"config"}, {})


def _tool_table(document: Mapping[str, Any], path: str, origin: str, problems: Problems) -> dict[str, Any]:
    """Return what `[tool.pgregistry]` of a pyproject.toml has."""
    tools = document.get("tool")
    table = tools.get("pgregistry") if isinstance(tools, dict) else None
    if not isinstance(table, dict):
        rule = f"must have a table [tool.pgregistry], from which a {PYPROJECT} is read"
        problems.add(ConfigError(f"config = {path} ({origin}) {rule}."))
        return {}
    return table


def reserved(name: str, origin: str) -> ConfigError:
    """Return the error for a size that is called like a parameter."""
    way_out = f" Write --{name.replace('_', '-')} or {PREFIX}{name.upper()}." * (name in TEXT_OPTIONS)
    rule = "cannot be a size: plan() and init() have a parameter of that name"
    return ConfigError(f"{name!r} ({origin}) {rule}.{way_out}")


def _read_toml(text: str) -> dict[str, Any]:
    """Parse a document; the parser is imported for the runs alone that have one."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)
