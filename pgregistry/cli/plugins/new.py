"""`pgregistry new`: a plugin project of four files that install, lint and pass their tests."""

from __future__ import annotations

import importlib.util
import keyword
import logging
import re
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

import click

from pgregistry.cli.options import examples, trace_option
from pgregistry.cli.streams import printing_to_stderr
from pgregistry.errors import ConfigError, PgregistryError, Problems, describe, listing
from pgregistry.planning.references import default_sizes
from pgregistry.registry.distributions import UNKNOWN, core_version
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import BUNDLED
from pgregistry.settings.options import RESERVED
from pgregistry.settings.tracing import tracing

log = logging.getLogger("pgregistry.cli")

#: The longest name: with a longer one, a line of a file would be too long.
LONGEST: Final = 24
#: The files of a project, each with its templates.
FILES: Final = {
    "pyproject.toml": ("pyproject.toml.in",),
    "pgregistry_$name.py": ("$kind.py.in", "hooks.py.in"),
    "tests/test_$name.py": ("test.py.in",),
    "README.md": ("README.md.in",),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of project: what its mode is, and its groups at 8 ranks with tensor=2, and at size 2 if it has a size."""

    about: str
    groups: str
    sized: bool = True


STAYS: Final = "Being installed is all it takes; without a size it is 1, and no rank of another mode moves."
KINDS: Final = {
    "split": Kind(
        f"it splits the data axis, and neighbours along it are together. {STAYS}", "[(0, 2), (1, 3), (4, 6), (5, 7)]"
    ),
    "axis": Kind(
        f"it is a factor of the world, between pipe and tensor, so data gets smaller. {STAYS}",
        "[(0, 2), (1, 3), (4, 6), (5, 7)]",
    ),
    "groups": Kind(
        "a function lists its groups, which are opposite ranks of a data group. Being installed is all it takes.",
        "[(0, 6), (1, 7), (2, 4), (3, 5)]",
        sized=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Backend:
    """A build backend: what it requires, its name, and the tables with the module that it packs."""

    requires: str
    backend: str
    module: str


BACKENDS: Final = {
    "hatchling": Backend(
        '"hatchling"',
        "hatchling.build",
        '[tool.hatch.build]\ndev-mode-dirs = ["."]\n\n'
        '[tool.hatch.build.targets.wheel]\nonly-include = ["pgregistry_$name.py"]',
    ),
    "setuptools": Backend(
        '"setuptools>=61"', "setuptools.build_meta", '[tool.setuptools]\npy-modules = ["pgregistry_$name"]'
    ),
}


@click.command("new", epilog=examples("pgregistry new expert", "pgregistry new ring --axis"))
@click.argument("name")
@click.option("--split", is_flag=True, help="Split the data axis (default).")
@click.option("--axis", is_flag=True, help="Add an axis of its own.")
@click.option("--groups", is_flag=True, help="List groups with a function, if axes cannot describe them.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="hatchling", help="Build backend of the wheel.")
@trace_option
def new_command(name: str, backend: str, trace: bool | None, **kinds: bool) -> None:
    """Write a plugin project called NAME into a new folder here.

    Its module declares a mode. Every other hook is there as a comment.
    """
    chosen = [kind for kind, given in kinds.items() if given]
    if len(chosen) > 1:
        raise click.UsageError(f"Choose one of {listing(f'--{kind}' for kind in chosen)}.")
    with tracing(trace), printing_to_stderr():
        _check_name(name)
    kind = chosen[0] if chosen else "split"
    folder, made = Path(f"pgregistry-{name.replace('_', '-')}"), KINDS[kind]
    if folder.exists():
        raise ConfigError(f"{folder} exists already. Choose another name, or move the folder.")
    words = {
        "name": name,
        "kind": kind,
        "distribution": folder.name,
        "title": "".join(word.title() for word in name.split("_")),
        "version": ".".join(core_version().replace(UNKNOWN, "0").split(".")[:2]),
        "about": made.about,
        "groups": made.groups,
        "size": f", {name}=2" if made.sized else "",
        "word": f" {name}=2" if made.sized else "",
    }
    words |= {key: Template(text).substitute(words) for key, text in asdict(BACKENDS[backend]).items()}
    for file, parts in FILES.items():
        path = folder / Template(file).substitute(words)
        text = "".join(_template(Template(part).substitute(words)) for part in parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(text).substitute(words), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from error
        click.echo(path)
    click.echo(f"\nNext: cd {folder}, pip install -e '.[test]', pytest, pgregistry check {name}", err=True)


def _template(name: str) -> str:
    """Return the text of a template, which a frozen program may not have."""
    try:
        return (resources.files("pgregistry.cli.plugins") / "template" / name).read_text(encoding="utf-8")
    except OSError as error:
        way_out = "Run `pgregistry new` where pgregistry is installed with pip."
        raise ConfigError(f"The template {name} of pgregistry cannot be read: {describe(error)}. {way_out}") from error


def _check_name(name: str) -> None:
    """Raise ConfigError if the name is invalid or taken."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name) or len(name) > LONGEST:
        why = f"{name!r} cannot name a plugin, because users write it as a keyword (tensor=2)"
        rule = f"have only lower case letters, digits and single underscores, at most {LONGEST} of them"
        raise ConfigError(f"{why}. It must start with a letter, {rule}, and not be a keyword of Python.")
    if name == BUNDLED:
        raise ConfigError(f"{name!r} cannot name a plugin: in only=, it is the plugins that ship with pgregistry.")
    if name in RESERVED:
        raise ConfigError(f"{name!r} cannot name a plugin: plan() and init() have a parameter of that name.")
    for what, names in _taken().items():
        if name in names:
            raise ConfigError(f"{name!r} is {what} of {names[name]}. Choose another name.")
    if importlib.util.find_spec(f"pgregistry_{name}") is not None:
        raise ConfigError(f"A module pgregistry_{name} is installed already. Choose another name.")


def _taken() -> dict[str, dict[str, str]]:
    """Return the names that installed plugins have or declare, each with its owner."""
    registry = Registry.read(Problems(), environ={})
    plugins = {one.installed.plugin.name: f"{one.installed.plugin.distribution}" for one in registry.statuses}
    modes, sizes, settings = dict[str, str](), dict[str, str](), dict[str, str]()
    for plugin in registry.active:
        try:
            declared = registry.modes(plugin)
            settings |= {setting.name: str(plugin) for setting in registry.settings_of(plugin)}
        except PgregistryError as error:
            log.debug("what this plugin declares is not known, so it takes no name but its own: %s", error)
            continue
        modes |= {mode.name: str(plugin) for mode in declared}
        sizes |= dict.fromkeys(default_sizes(declared), str(plugin))
    return {"the name of a plugin": plugins, "a mode": modes, "a size": sizes, "a setting": settings}
