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
        metavar: The placeholder for its value in `--help`; None for a flag.
        typed: The name of the option on the command line, if it is given once for each value.
        of_init: A parameter of `init()` alone.
    """

    name: str
    help: str | None = None
    metavar: str | None = "A,B"
    typed: str | None = None
    of_init: bool = False


OPTIONS: Final = (
    Option("order", "Axes, outermost first; those of size 1 may be left out.", "A,B,C"),
    Option("enable", "Switch these plugins on.", typed="enable"),
    Option("disable", "Leave these plugins out.", typed="disable"),
    Option("only", "Use only these plugins.", typed="only"),
    Option("plugins", "Use a plugin that is not installed: MODULE or MODULE:OBJECT.", "P", typed="plugin"),
    Option("require", "Fail unless this distribution is installed.", "REQUIREMENT", typed="require"),
    Option("config", "Read sizes, settings and options from this TOML file.", "FILE"),
    Option("within", "Place the plan on these ranks only, in this order.", "R,R-R"),
    Option("ranks_per_host", "Number of ranks on each host.", "N"),
    Option("hosts", "Ranks of each host: 0-3;4-7, or JSON, or a JSON file.", "H"),
    Option("hosts_per_domain", "Number of hosts in each domain.", "N"),
    Option("extra"),
    Option("backend", "Torch backend of every mode that does not name one.", "B", of_init=True),
    Option("device", "Device to bind the default process group to.", "D", of_init=True),
    Option("timeout", "Timeout of process groups, in seconds.", "S", of_init=True),
    Option("cpu", "Give every mode a gloo process group too, for CPU tensors.", None, of_init=True),
    Option("agree_timeout", "How long to wait for all ranks to join, in seconds.", "S", of_init=True),
    Option("build_timeout", "How long to wait for process groups, in seconds.", "S", of_init=True),
    Option("watch", "Report what holds up a run after S seconds; 0 turns that off.", "S", of_init=True),
    Option("watch_dir", "Write the flight records of a stuck run to this folder.", "DIR", of_init=True),
    Option("expect", "Fail if the plan is another: a fingerprint, or a plan's JSON file.", "FILE", of_init=True),
)
NAMES: Final = frozenset(option.name for option in OPTIONS)
#: Parameters of `init()` that `plan()` does not have.
OF_INIT: Final = tuple(option.name for option in OPTIONS if option.of_init)
#: Options that the command line, the environment and a file can give.
TEXT_OPTIONS: Final = tuple(option.name for option in OPTIONS if option.help)
#: Names that neither a size, a setting nor a plugin can have. The list never grows in a minor version: a parameter
#: that is added later has a name that a plugin may have too, and then the name is the plugin's.
RESERVED: Final = frozenset(
    """
    agree_timeout args backend build_timeout config cpu device disable enable expect extra hosts hosts_per_domain
    only order plan plugins ranks_per_host require timeout watch watch_dir within world_size
    """.split()
)


def keywords(parameters: Mapping[str, Any], named: str = "sizes_and_settings") -> dict[str, Any]:
    """Return all keywords of a call of `plan()` or `init()`, from the `locals()` of either function.

    >>> keywords({"world_size": 8, "order": None, "cpu": True, "sizes_and_settings": {"tensor": 2}})
    {'order': None, 'cpu': True, 'tensor': 2}
    """
    return {**{name: value for name, value in parameters.items() if name in NAMES}, **parameters[named]}
