"""`pgregistry new`: a plugin project of four files that install, lint and pass their tests."""

from __future__ import annotations

import importlib.util
import keyword
import logging
import re
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Final

import click

from pgregistry.cli.options import trace_option
from pgregistry.errors import ConfigError, PgregistryError, Problems
from pgregistry.planning.references import default_sizes
from pgregistry.registry.manager import Registry
from pgregistry.settings.options import RESERVED
from pgregistry.settings.tracing import tracing

log = logging.getLogger("pgregistry.cli")

#: The longest name: with a longer one, a line of a file would be too long.
LONGEST: Final = 24
#: The files of a project, each with its template.
FILES: Final = {
    "pyproject.toml": "pyproject.toml.in",
    "pgregistry_$name.py": "module.py.in",
    "tests/test_$name.py": "test.py.in",
    "README.md": "README.md.in",
}


@click.command("new")
@click.argument("name")
@trace_option
def new_command(name: str, trace: bool | None) -> None:
    """Write a plugin project called NAME into a new folder here."""
    with tracing(trace):
        _check_name(name)
    folder = Path(f"pgregistry-{name.replace('_', '-')}")
    if folder.exists():
        raise ConfigError(f"{folder} exists already. Choose another name, or move the folder.")
    words = {
        "name": name,
        "distribution": folder.name,
        "title": "".join(word.title() for word in name.split("_")),
        "version": ".".join(version("pgregistry").split(".")[:2]),
    }
    for file, template in FILES.items():
        path = folder / Template(file).substitute(words)
        text = (resources.files("pgregistry.cli.plugins") / "template" / template).read_text(encoding="utf-8")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(text).substitute(words), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from error
        click.echo(path)
    click.echo(f"\nNext: cd {folder}, pip install -e '.[test]', pytest, pgregistry check {name}", err=True)


def _check_name(name: str) -> None:
    """Raise ConfigError if the name is invalid or taken."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name) or len(name) > LONGEST:
        why = f"{name!r} cannot name a plugin, because users write it as a keyword (tensor=2)"
        rule = f"have only lower case letters, digits and single underscores, at most {LONGEST} of them"
        raise ConfigError(f"{why}. It must start with a letter, {rule}, and not be a keyword of Python.")
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
    modes, sizes = dict[str, str](), dict[str, str]()
    for plugin in registry.active:
        try:
            declared = registry.modes(plugin)
        except PgregistryError as error:
            log.debug("what this plugin declares is not known, so it takes no name but its own: %s", error)
            continue
        modes |= {mode.name: str(plugin) for mode in declared}
        sizes |= dict.fromkeys(default_sizes(declared), str(plugin))
    return {"the name of a plugin": plugins, "a mode": modes, "a size": sizes}
