"""The arguments of one call of `init`; the words in `args=` are read as the command line of pgregistry reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems, did_you_mean
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.given_plan import check_given
from pgregistry.settings.merge import Settings, read_settings
from pgregistry.settings.options import OPTIONS, Option
from pgregistry.settings.sources import from_command_line, split_assignment
from pgregistry.values import LARGEST, exhaust, plain, shown

BY_WORD: Final = {f"--{(option.typed or option.name).replace('_', '-')}": option for option in OPTIONS if option.help}


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call of `init`, not read yet.

    Attributes:
        keywords: The keywords beside `args` and `plan`.
        words: The value of `args`.
        plan: The plan that is given, or None.
        command_line: Settings as typed on the command line of pgregistry.
    """

    keywords: Mapping[str, Any]
    words: object = ()
    plan: Plan | None = None
    command_line: Mapping[str, Any] | None = None

    def typed(self, problems: Problems) -> dict[str, Any]:
        """Return the settings of the command line and of `args`."""
        return {**read_arguments(self.words, problems), **(self.command_line or {})}

    def only(self, name: str, problems: Problems, world_size: int = LARGEST) -> Settings:
        """Read one parameter alone: a rank whose settings are wrong takes part in the agreement all the same."""
        keywords, typed = (
            {one: source[one] for one in (name, "config") if one in source}
            for source in (self.keywords, self.typed(Problems()))
        )
        return read_settings(problems, keywords=keywords, command_line=typed, world_size=world_size, names=(name,))

    def ranks(self, world_size: int) -> Sequence[int] | None:
        """Return the ranks that compare a plan, ascending; None if that cannot be read, or was in part."""
        if self.plan is not None:
            return sorted(check_given(self.plan, world_size).ranks or range(world_size))
        if isinstance(self.keywords.get("within"), Iterator):
            return None
        problems = Problems()
        return ranks_of(self.only("within", problems, world_size), problems, world_size)


def ranks_of(settings: Settings, problems: Problems, world_size: int) -> Sequence[int] | None:
    """Return the ranks that compare a plan, ascending; None if a problem may hide them.

    >>> ranks_of(read_settings(Problems(), keywords={"within": "3,1"}), Problems(), 8)
    [1, 3]
    """
    if settings.within:
        return sorted(settings.within.value)
    return None if problems else range(world_size)


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
