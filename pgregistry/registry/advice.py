"""Advice for a plugin that fails, or a name that is not known, from how distributions are installed."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Final

from pgregistry.errors import listing
from pgregistry.registry.discovery import GROUPS, plugins_of
from pgregistry.registry.distributions import (
    ENTRY_POINTS,
    InstalledDistribution,
    core_version,
    distributions,
    normalized,
)
from pgregistry.registry.plugin import BUNDLED, InstalledPlugin, spec_of

NOTHING: Final = "No mode plugins are installed"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A distribution of which a plugin does not count, or may not.

    Attributes:
        key: The normalized name of the distribution.
        plugins: The names of these plugins.
        why: A sentence.
    """

    key: str | None
    plugins: tuple[str, ...]
    why: str


def passed_over() -> Iterator[PassedOver]:
    """Yield the distributions whose plugins do not count: hidden by one of the same name, or left behind by pip."""
    first: dict[str | None, InstalledDistribution] = {}
    for one in distributions():
        over = first.setdefault(one.key, one) if one.key is not None else one
        found = tuple(plugins_of(one, leftovers=True))
        plugins = tuple(plugin.plugin.name for plugin in found)
        if one.leftover and plugins:
            yield PassedOver(one.key, plugins, f"{one.info} was left behind by pip and does not count; delete it.")
        elif over is not one and os.path.realpath(over.info) != os.path.realpath(one.info):
            if found != tuple(plugins_of(over)):  # or else it makes no difference
                stale = "; delete the one that is stale" if over.info.endswith(".egg-info") else ""
                yield PassedOver(one.key, plugins, f"{over.info} comes first on the path and hides {one.info}{stale}.")
        elif over is one:
            yield from _misspelt(one)


def _misspelt(one: InstalledDistribution) -> Iterator[PassedOver]:
    """Yield what has an entry point group that looks like ours."""
    try:
        text = (one.read(ENTRY_POINTS) or b"").decode()
    except Exception:  # discovery names it
        return
    for group in re.findall(r"^\[(pgregistry(?:[._-](?:plugins?|optionals?|modes?))?)\]", text, re.IGNORECASE | re.M):
        if group not in GROUPS:
            rule = f"the groups are {' and '.join(GROUPS)}"
            yield PassedOver(
                one.key, (), f"{one.info}/{ENTRY_POINTS} has the group {group!r}, which does not count; {rule}."
            )


class Causes:
    """Finds what may be the cause if a plugin fails; what is installed is read once for all that fail."""

    @cached_property
    def _passed_over(self) -> tuple[PassedOver, ...]:
        return tuple(passed_over())

    @cached_property
    def _core(self) -> str:
        return core_version()

    def of(self, installed: InstalledPlugin) -> list[str]:
        """Return what may be the cause, a sentence each."""
        if (one := installed.distribution) is None:
            return []
        found = [over.why for over in self._passed_over if over.key == one.key]
        if unmet := self._unmet(one):
            found.append(f"It requires {unmet}, but pgregistry {self._core} is installed.")
        return found

    def _unmet(self, one: InstalledDistribution) -> str | None:
        """Return what a distribution requires of pgregistry, if the one that runs is another version."""
        for text in one.header.get("requires-dist", ()):
            if not normalized(text).startswith("pgregistry"):
                continue
            try:
                from packaging.requirements import InvalidRequirement, Requirement  # costs 20 ms, needed rarely
                from packaging.version import InvalidVersion
            except ImportError:  # the plugin may have changed the path
                return None
            try:
                requirement = Requirement(text)
                if normalized(requirement.name) != "pgregistry" or "extra" in str(requirement.marker or ""):
                    continue
                if not requirement.specifier.contains(self._core, prereleases=True):
                    return str(requirement)
            except (InvalidRequirement, InvalidVersion):
                continue
        return None


def left_out(installed: InstalledPlugin) -> str | None:
    """Return the module of a plugin if this is a frozen program that has its metadata alone."""
    if not getattr(sys, "frozen", False) or installed.entry_point is None or installed.broken:
        return None
    module = installed.entry_point.module
    for package in accumulate(module.split("."), "{}.{}".format):
        if spec_of(package) is None:
            return module
        if package not in sys.modules:
            break  # it is here, and raises
    return None


def declares(installed: InstalledPlugin, mode: str) -> bool:
    """Return True if the source of a plugin has a `Mode` with this name in plain letters; nothing is imported."""
    return mode in declared_modes(installed)


def declared_modes(installed: InstalledPlugin) -> set[str]:
    """Return the names of each `Mode` that the source of a plugin has in plain letters; nothing is imported."""
    point, found = installed.entry_point, set[str]()
    if point is None or installed.broken:
        return found
    top, *rest = point.module.split(".")
    spec = spec_of(top)
    with suppress(ImportError, AttributeError, OSError, ValueError, SyntaxError, RecursionError):
        folders = [Path(folder, *rest) for folder in (spec and spec.submodule_search_locations) or ()]
        files = [Path(spec.origin)] if spec and spec.origin else []
        for folder in folders:
            files += [folder.with_suffix(".py"), *folder.glob("*.py")]
        for file in filter(Path.is_file, files):
            found.update(_modes_in(ast.parse(file.read_bytes())))
    return found


def _modes_in(source: ast.AST) -> Iterator[str]:
    for node in ast.walk(source):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            if name == "Mode" and isinstance(node.args[0].value, str):
                yield node.args[0].value


class Owners:
    """Finds the plugins to which a name belongs; their sources are read once for all names that are not known."""

    def __init__(self, plugins: Sequence[InstalledPlugin]) -> None:
        self._plugins = plugins

    @cached_property
    def _modes(self) -> list[tuple[str, set[str]]]:
        return [(one.plugin.name, declared_modes(one)) for one in self._plugins]

    def of(self, name: str) -> str | None:
        """Return the plugins that a distribution or module has, or that declare a mode, of this name, as a sentence."""
        if name == BUNDLED:
            return f"{name!r} has a meaning in only= alone: the plugins that ship with pgregistry."
        points = [(one.plugin, one.entry_point.module) for one in self._plugins if one.entry_point and not one.broken]
        for same in (lambda text: text == name, lambda text: normalized(text) == normalized(name)):
            for kind, named in (
                ("Distribution", [(plugin.name, plugin.distribution) for plugin, _ in points if plugin.distribution]),
                ("Module", [(plugin.name, module) for plugin, module in points]),
            ):
                if has := [(plugin, of) for plugin, of in named if of and same(of)]:
                    noun = "plugin" if len(has) == 1 else "plugins"
                    return f"{kind} {has[0][1]} has the {noun} {listing(repr(plugin) for plugin, _ in has)}."
        owners = [repr(plugin) for plugin, modes in self._modes if name in modes]
        return f"It is a mode of plugin {listing(owners)}." if owners else None


class Hidden:
    """Finds why a plugin does not count; all of `sys.path` is read once for all names that are not known."""

    @cached_property
    def _passed_over(self) -> tuple[PassedOver, ...]:
        return tuple(passed_over())

    def why(self, name: str) -> str:
        """Return why a plugin of this name does not count, behind a space; nothing if there is none."""
        return "".join(f" {one.why}" for one in self._passed_over if name in one.plugins)


def nothing_installed(what: str) -> str:
    """Return that the core runs without its metadata, and what to do."""
    folder = Path(__file__).parents[2]
    where = f"pgregistry is imported from {folder / 'pgregistry'} without being installed"
    if (folder / "pyproject.toml").exists():
        return f"{what}. {where}; run `pip install -e {folder}`."
    return f"{what}. {where}: it is a copy without its metadata, which names its plugins; run `pip install pgregistry`."


def kind_of(value: object, name: str) -> str:
    """Return what takes the place of a Mode or a Setting: of another copy of pgregistry, or something else."""
    kind = type(value)
    if kind.__name__ != name:
        return f"not a {name}; yield each {name}"
    codes = (getattr(one, "__code__", None) for one in vars(kind).values())
    files = [code.co_filename for code in codes if code and not code.co_filename.startswith("<")]
    other = f"a {name} of another copy of pgregistry ({files[0] if files else kind.__module__})"
    return f"{other}. This one is {Path(__file__).parents[1]}"
