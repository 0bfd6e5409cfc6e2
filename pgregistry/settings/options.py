"""The parameters of `plan()` and `init()`, listed once: all other lists of their names are derived from this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Option:
    """One parameter of `plan()` or `init()` that is not a size.

    Attributes:
        name: The keyword. The option is called `--name`, the variable PGREGISTRY_NAME.
        help: The line in `--help`. None for an option that text cannot give.
        metavar: The placeholder for its value in `--help`.
        repeatable: Can be given several times on the command line.
        of_init: A parameter of `init()` alone.
    """

    name: str
    help: str | None = None
    metavar: str = "A,B"
    repeatable: bool = False
    of_init: bool = False


OPTIONS: Final = (
    Option("order", "Axes, outermost first.", "A,B,C"),
    Option("enable", "Plugins to switch on.", repeatable=True),
    Option("disable", "Plugins to leave out.", repeatable=True),
    Option("only", "The plugins to use, and no others.", repeatable=True),
    Option("require", "Distributions that must be installed.", "REQUIREMENT", repeatable=True),
    Option("ranks_per_host", "Number of ranks on each host.", "N"),
    Option("hosts", "The ranks of each host.", "R-R;R-R"),
    Option("hosts_per_domain", "Number of hosts in each domain.", "N"),
    Option("config", "A TOML file with the same names.", "FILE"),
    Option("extra"),
    Option("within"),
    *(Option(name, of_init=True) for name in ("backend", "device", "timeout", "cpu", "agree_timeout", "build_timeout")),
)
#: Names that neither a size nor a plugin can have.
RESERVED: Final = frozenset({"world_size", *(option.name for option in OPTIONS)})
#: Options that are one number.
NUMBERS: Final = ("ranks_per_host", "hosts_per_domain")
#: Options of `plan()`. A keyword can give each of them.
PLAN_OPTIONS: Final = frozenset(option.name for option in OPTIONS if not option.of_init)
#: Options that the command line and the environment can give.
TEXT_OPTIONS: Final = tuple(option.name for option in OPTIONS if option.help)


def split_parameters(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keywords of a plan, and those of `init()` alone, from the `locals()` of either function.

    >>> split_parameters({"world_size": 8, "order": None, "cpu": True, "sizes": {"tensor": 2}})
    ({'order': None, 'tensor': 2}, {'cpu': True})
    """
    of_init = {option.name for option in OPTIONS if option.of_init}
    of_plan = {name: parameters[name] for name in parameters if name in PLAN_OPTIONS}
    return of_plan | parameters["sizes"], {name: parameters[name] for name in parameters if name in of_init}
