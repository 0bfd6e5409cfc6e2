"""The words of `init(args=…)`, read as the command line of pgregistry reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems, did_you_mean
from pgregistry.settings.options import OPTIONS, Option
from pgregistry.settings.sources import from_command_line, split_assignment
from pgregistry.values import exhaust, plain, shown

BY_WORD: Final = {f"--{(option.typed or option.name).replace('_', '-')}": option for option in OPTIONS if option.help}


def read_arguments(words: object, problems: Problems) -> dict[str, Any]:
    """Return words as keywords of `pgregistry.init`, and add to `problems` each that is none.

    >>> read_arguments(["tensor=2", "--order", "data,tensor", "--disable=nettest", "--cpu"], Problems())
    {'tensor': '2', 'order': 'data,tensor', 'disable': 'nettest', 'cpu': True}
    """
    rest: list[str] = []
    with problems.collecting():
        rest += _checked(words)
    pairs: list[tuple[str, str]] = []
    options: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        with problems.collecting():
            if not word.startswith("-"):
                pairs.append(split_assignment(word, "command line"))
                continue
            name, equals, text = word.partition("=")
            follows = bool(rest) and "=" not in rest[0] and not rest[0].startswith("-")
            option = BY_WORD.get(name)
            if option is None:
                value = text if equals else rest.pop(0) if follows else ""
                raise _unknown(name, value)
            if option.metavar is None:
                if equals:
                    raise ConfigError(f"{word!r} (command line) must be {name} alone, which takes no value.")
                options[option.name] = True
            elif equals or rest:
                _add(options, option, text if equals else rest.pop(0))
            else:
                raise ConfigError(f"{name} (command line) must have a value: {name} {option.metavar}.")
    return from_command_line(pairs, options, problems)


def _checked(words: object) -> tuple[str, ...]:
    rule = "must be a list of words, such as sys.argv[1:]"
    if words is None:
        return ()
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise ConfigError(f"args = {shown(words)} (keyword) {rule}.")
    given: tuple[str, ...] = plain(exhaust(words, "args (keyword)", error=ConfigError))
    if wrong := [word for word in given if not isinstance(word, str)]:
        raise ConfigError(f"args (keyword) {rule}, but has {shown(wrong[0])}.")
    return given


def _unknown(name: str, value: str) -> ConfigError:
    text = f"{shown(name)} (command line) is not an option of init()."
    if value.isascii() and value.isdigit():
        return ConfigError(f"{text} A size is a word of its own: {name.lstrip('-').replace('-', '_')}={value}")
    return ConfigError(f"{text} {did_you_mean(name, BY_WORD)} Leave the options of your script out of args=.")


def _add(options: dict[str, Any], option: Option, text: str) -> None:
    """Keep the value of an option; values of one that can be given several times add up."""
    options[option.name] = (*options.get(option.name, ()), text) if option.typed else text
