"""Where settings come from: words of a command line, environment variables, a TOML file."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems
from pgregistry.settings import launcher

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Parameters of `plan` and `init`, which no size and no plugin can be called.
RESERVED: Final = frozenset(
    {
        *("agree_timeout", "backend", "build_timeout", "config", "cpu", "device", "disable", "enable", "extra"),
        *("only", "order", "ranks_per_host", "require", "timeout", "within", "world_size"),
    }
)
#: What a file, the environment or the command line can say beside sizes.
SWITCHES: Final = ("order", "enable", "disable", "only", "require", "ranks_per_host")


@dataclass(frozen=True, slots=True)
class Source:
    """One place where values come from, already in the spelling of keywords."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    default: str

    def origin(self, key: str) -> str:
        """Where the value of a name comes from."""
        return self.origins.get(key, self.default)


def assignments(words: Iterable[str], origin: str, problems: Problems) -> dict[str, Any]:
    """NAME=VALUE words as a mapping; a value is written as in TOML.

    >>> assignments(["tensor=4", "zero1={dedicated=true}"], "command line", Problems())
    {'tensor': 4, 'zero1': {'dedicated': True}}
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            problems.add(ConfigError(f"{word!r} ({origin}) is not of the form NAME=SIZE, as in tensor=2."))
        elif name in RESERVED:
            problems.add(reserved(name, origin))
        elif name in values:
            problems.add(ConfigError(f"{name!r} is given twice ({origin}): {values[name]} and {text}."))
        else:
            values[name] = _toml_value(text)
    return values


def _toml_value(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # TOMLDecodeError, or a number or table that Python will not read
        return text
    return document["value"] if len(document) == 1 else text


def from_environment(environ: Mapping[str, str], problems: Problems) -> Source:
    """`PGREGISTRY="tensor=4"`, `PGREGISTRY_DISABLE=…`; a variable that is empty says nothing."""
    values: dict[str, Any] = {}
    # Words end at spaces, except in a quoted word and in a {table}, whose own quotes are TOML's.
    words = re.findall(r"'[^']*'|\"[^\"]*\"|[^\s{]+(?:\{[^}]*\}?)?|\{", environ.get("PGREGISTRY", ""))
    words = [word[1:-1] if word[0] == word[-1] and word[0] in "'\"" else word for word in words]
    values.update(assignments(words, "PGREGISTRY", problems))
    origins = dict.fromkeys(values, "PGREGISTRY")
    try:
        launch = launcher.read(environ)
    except ConfigError:
        launch = None  # planning needs no launcher, and `init` complains itself
    if launch and launch.ranks_per_host:
        values["ranks_per_host"] = launch.ranks_per_host
        origins["ranks_per_host"] = launch.ranks_per_host_from
    for switch in (*SWITCHES, "config"):
        variable = f"PGREGISTRY_{switch.upper()}"
        if text := environ.get(variable):
            values[switch] = _toml_value(text) if switch == "ranks_per_host" else text
            origins[switch] = variable
    if (traced := environ.get("PGREGISTRY_TRACE", "")) not in ("", "0", "1"):
        problems.add(ConfigError(f"PGREGISTRY_TRACE={traced!r} in the environment is neither 1 (on) nor 0 (off)."))
    known = [word.upper() for word in (*SWITCHES, "config", "build", "trace")]
    for variable in sorted(environ):
        prefix, _, word = variable.partition("PGREGISTRY_")
        # A plugin may read one of its own; only what looks like a slip is one.
        if not prefix and word not in known and (close := difflib.get_close_matches(word, known, n=1, cutoff=0.75)):
            problems.add(ConfigError(f"Nothing reads {variable}. Did you mean 'PGREGISTRY_{close[0]}'?"))
    return Source(values, origins, "environment")


def from_file(config: object, problems: Problems) -> Source:
    """What a TOML file says."""
    empty = Source({}, {}, str(config))
    if not isinstance(config, str | os.PathLike):
        problems.add(ConfigError(f"config={config!r} is not the path of a TOML file."))
        return empty
    try:
        values = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except OSError as error:
        problems.add(ConfigError(f"The configuration {config} cannot be read: {error.strerror or error}."))
        return empty
    except UnicodeDecodeError as error:
        problems.add(ConfigError(f"The configuration {config} is not UTF-8: {error}."))
        return empty
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one, as is a null byte in the path
        problems.add(ConfigError(f"The configuration {config!s} is not valid TOML: {error}."))
        return empty
    return Source(values, {}, str(config))


def reserved(name: str, origin: str) -> ConfigError:
    """The error for a name that cannot be a size."""
    return ConfigError(f"{name!r} ({origin}) is no size; the name is that of a parameter of plan() or init().")
