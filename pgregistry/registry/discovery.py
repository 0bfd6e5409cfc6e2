"""Discovery of plugins: the installed ones through their entry points, and those that `plugins=` names.

pluggy's own loader drops a second plugin of one name and keeps whichever the file system lists
first. Here two of one name are an error, and a plugin that is off is not imported. Each distribution is read on its
own: a damaged one is a plugin that failed if it may be one of ours, and is ignored otherwise.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pgregistry.errors import ConfigError, Problems, describe
from pgregistry.registry.distributions import ENTRY_POINTS, InstalledDistribution, distributions, visible
from pgregistry.registry.plugin import BUNDLED, InstalledPlugin, Plugin, spec_of
from pgregistry.settings.merge import Settings
from pgregistry.values import shown

log = logging.getLogger("pgregistry.plan")

ON_WHEN_INSTALLED: Final = "pgregistry"
ON_WHEN_ENABLED: Final = "pgregistry.optional"
GROUPS: Final = (ON_WHEN_INSTALLED, ON_WHEN_ENABLED)
#: A module, or an object in one.
MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")
#: How to run without a plugin that `plugins=` names.
OF_NAMED: Final = "To run without it, leave it out of plugins=."
_WORD: Final = ON_WHEN_INSTALLED.encode()


def discover() -> tuple[InstalledPlugin, ...]:
    """Return all installed plugins, sorted by name, duplicates included; import none.

    >>> [installed.plugin.name for installed in discover() if installed.plugin.distribution == "pgregistry"][:3]
    ['data', 'dummy', 'global']
    """
    found = [plugin for one in visible(distributions()) for plugin in plugins_of(one)]
    return tuple(sorted(found, key=_place))


def with_named(
    found: tuple[InstalledPlugin, ...], settings: Settings, problems: Problems
) -> tuple[InstalledPlugin, ...]:
    """Return the installed plugins and those that `plugins=` names, sorted by name.

    The name of a plugin that is not installed is the last word of its module without `pgregistry_`. For an
    object it is that of the module of its class.
    """
    named = []
    for one in settings.plugins:
        given = None if isinstance(one.value, str) else one.value
        text = one.value if given is None else _module_of(given)
        if not MODULE.fullmatch(text):
            rule = "must be a module or MODULE:OBJECT, as lab.modes or lab.modes:plugin"
            problems.add(ConfigError(f"plugins: {shown(text)} ({one.origin}) {rule}."))
            continue
        name = text.partition(":")[0].rpartition(".")[2].removeprefix("pgregistry_")
        folder = _folder(text if given is None else given)
        origin = f"Named by plugins = {text} ({one.origin}){f', found in {folder}' if folder else ''}."
        point = EntryPoint(name, text, "plugins")
        plugin, broken = Plugin(name, origin=origin, way_out=OF_NAMED), _wrong_name(name)
        named.append(InstalledPlugin(plugin, point, broken=broken, named_by=one.origin, given=given))
    return tuple(sorted((*found, *named), key=_place)) if named else found


def _folder(given: object) -> str | None:
    """Return the folder of a module, or of the package that it is in, without importing it; None for anything else."""
    files: Sequence[str | None] = [getattr(given, "__file__", None)] if isinstance(given, ModuleType) else []
    if isinstance(given, str) and (spec := spec_of(re.split("[.:]", given)[0])):
        files = [*(spec.submodule_search_locations or ()), spec.origin if spec.has_location else None]
    return next((os.path.dirname(os.path.abspath(file)) for file in files if file), None)


def _module_of(given: object) -> str:
    """Return the name of a module, or the class of another object."""
    kind: Any = given if issubclass(type(given), type) else type(given)
    text = getattr(given, "__name__", "") if isinstance(given, ModuleType) else f"{kind.__module__}:{kind.__qualname__}"
    text = str(text).replace("<locals>.", "")
    return text if MODULE.fullmatch(text) else f"{type(given).__module__}:object"


def _place(one: InstalledPlugin) -> tuple[str, str, str]:
    return one.plugin.name, one.plugin.distribution or "", str(one)


def plugins_of(one: InstalledDistribution, *, leftovers: bool = False) -> Iterator[InstalledPlugin]:
    """Yield the plugins of a distribution; one that is broken stands for what cannot be read."""
    try:
        data = one.read(ENTRY_POINTS)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of the file system, or of a finder of anybody's
        yield from _unreadable(one, error)
        return
    if data is None:
        if "pgregistry" in one.info and "pgregistry" in one.info_name:
            for path in (one.info, f"{one.info}/{ENTRY_POINTS}"):
                if os.path.islink(path) and not os.path.exists(path):
                    yield _broken(one, one.name, f"{path} is a link to nothing")
        return
    if _WORD not in data and (b"\0" not in data or _WORD not in data.replace(b"\0", b"")):
        return  # parsing the entry points of all distributions would take longest
    if one.leftover and not leftovers:
        log.debug("%s is not read: pip left it behind", one.info)
        return
    try:
        text = data.decode()
        points = [point for point in _Read(one, text).entry_points if point.group in GROUPS]
        if not points:
            _check_first_line(text)
    except Exception as error:
        yield from _malformed(one, data.decode("utf-8", "replace"), error)
        return
    for point in points:
        plugin = _plugin(one, point.name, point.value)
        yield InstalledPlugin(plugin, point, point.group == ON_WHEN_ENABLED, one, _wrong_point(point))


def _check_first_line(text: str) -> None:
    """Raise ValueError for what precedes all sections, such as a byte order mark, which importlib passes over."""
    lines = (line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#"))
    first = next(lines, "[]")
    if not first.startswith("[") or not first.endswith("]") or "\0" in first:
        raise ValueError(f"it begins with {shown(first)}; it must be UTF-8 and begin with a section, as [pgregistry]")


class _Read(Distribution):
    """A distribution whose entry points importlib parses, without opening a file again."""

    def __init__(self, one: InstalledDistribution, text: str) -> None:
        self._one = one
        self._text = text

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == ENTRY_POINTS else None

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path(self._one.folder, path)


def _plugin(one: InstalledDistribution, name: str, entry: str | None = None) -> Plugin:
    return Plugin(name, one.name, one.version, f"Found in {one.folder}.", _way_out(one, name), entry, one.folder)


def _way_out(one: InstalledDistribution, name: str) -> str:
    """Return how to run without a plugin; if its name cannot be typed, by that of its distribution."""
    if not name.isprintable() or not _is_word(name):
        name = next((of for of in (one.name, one.info_name) if _is_word(of)), name)
    return f"To run without it: disable=[{name!r}], --disable {name} or PGREGISTRY_DISABLE={name}."


def _broken(one: InstalledDistribution, name: str, why: str, optional: bool = False) -> InstalledPlugin:
    name = one.info_name if name == "unknown" else name
    return InstalledPlugin(_plugin(one, name), None, optional, one, f"cannot be read: {why}.")


def _unreadable(one: InstalledDistribution, error: BaseException) -> Iterator[InstalledPlugin]:
    """Yield a broken plugin if the distribution may have one; its name or what it requires shows that."""
    requires = (text.lower() for text in one.header.get("requires-dist", ()))
    if "pgregistry" in one.info_name.lower() or any(text.startswith("pgregistry") for text in requires):
        yield _broken(one, one.name, f"{one.info}/{ENTRY_POINTS}: {describe(error)}")
    else:
        log.debug("%s/%s cannot be read, and is skipped: %s", one.info, ENTRY_POINTS, describe(error))


def _malformed(one: InstalledDistribution, text: str, error: Exception) -> Iterator[InstalledPlugin]:
    """Yield a broken plugin for each name in our groups that can be read, or one for all of them."""
    why, section, names = f"{one.info}/{ENTRY_POINTS}: {describe(error)}", "", []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        plain = line.replace("\0", "").lstrip("\ufeff")
        if plain.startswith("["):
            section = plain.strip("[]")
            continue
        if section in GROUPS and (named := re.match(r"[^=:#][^=:]*(?=[=:])", plain)):
            names.append((named[0].strip(), section == ON_WHEN_ENABLED))
        if section and line and not line.startswith("#") and "=" not in line and isinstance(error, TypeError):
            why = f"{one.info}/{ENTRY_POINTS}: line {number} is {shown(line)}; it must have the form NAME = MODULE"
    for name, optional in names or [(one.name, False)]:
        yield _broken(one, name, why, optional)


def _wrong_point(point: EntryPoint) -> str | None:
    """Return what is wrong with an entry point, which can be known without importing it."""
    if wrong := _wrong_name(point.name):
        return wrong
    if all(map(str.isidentifier, point.value.split("."))):
        return None  # the usual case, without a pattern that takes longer to compile than all else
    dotted = r"\w+(\.\w+)*\s*"
    if not re.fullmatch(rf"{dotted}(:\s*{dotted})?(\[.*\]\s*)?", point.value):
        return f"must be a module, or MODULE:OBJECT, and {point.value!r} is neither."
    return None


def _wrong_name(name: str) -> str | None:
    if not name:
        return "must have a name, as in NAME = MODULE."
    if not _is_word(name):
        return "must have a name without spaces and commas, which separate names on the command line. Rename it."
    if not name.isprintable():
        return "must have a name that can be printed. Rename it."
    if name == BUNDLED:
        return f"must have another name: in only=, {BUNDLED!r} is the plugins that ship with pgregistry. Rename it."
    return None


def _is_word(name: str) -> bool:
    """Return True if a name can stand in a list on the command line; a pattern would take longer to compile."""
    return bool(name) and "," not in name and not any(map(str.isspace, name))


def switched_off(installed: InstalledPlugin, settings: Settings) -> str | None:
    """Return why a plugin is off in this run, with the origin; None if it is on.

    `disable` wins over all, then `enable` and `plugins`; `only` replaces the plugins that are on when installed.
    """
    name, enabled = installed.plugin.name, ""
    if name in settings.enable:
        enabled = f", which wins over enable ({settings.enable[name]})"
    for given in installed.names:
        if given in settings.disable:
            return f"disabled ({settings.disable[given]}){enabled}"
    if enabled or installed.named_by is not None:
        return None
    if settings.only is not None:
        named = any(installed.bundled if word == BUNDLED else word == name for word in settings.only.value)
        return None if named else f"not in only ({settings.only.origin})"
    if installed.optional:
        return f"off until enabled (entry point group {ON_WHEN_ENABLED})"
    return None
