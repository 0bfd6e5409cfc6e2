"""All declared modes together: their axes and splits, and the order in which they are built."""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from pgregistry.errors import ConfigError, PluginError, Problems
from pgregistry.planning.references import default_size, label, named, walk
from pgregistry.registry.manager import Registry
from pgregistry.registry.plugin import Plugin, plugin_error, without
from pgregistry.values import shown
from pgregistry.vocabulary import Axis, Mode, Part, Reference, Special, Split


@dataclass(frozen=True, slots=True)
class DeclaredMode:
    """A mode and the plugin that declares it."""

    mode: Mode
    plugin: Plugin

    def __str__(self) -> str:
        return f"mode {self.mode.name!r} ({self.plugin})"

    def error(self, text: str) -> PluginError:
        """Return the error about this mode."""
        return plugin_error(f"{self} {text}", self.plugin)


@dataclass(slots=True)
class Declarations:
    """All declarations of a run, checked to fit together.

    Attributes:
        modes: In execution order: a mode after those it refers to and those in its `after`;
            of all such orders the smallest by name.
        axes: By name.
        parts: The named parts of splits, by name.
        owners: The mode that declares each axis and named part: of equal splits the first that gives the size.
        uses: For each mode the other modes that declare what it is over, with the names of that.
    """

    modes: tuple[DeclaredMode, ...] = ()
    axes: dict[str, Axis] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    owners: dict[str, DeclaredMode] = field(default_factory=dict)
    uses: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def size_names(self) -> tuple[str, ...]:
        """Return the names of all sizes, sorted."""
        return tuple(sorted({*self.axes, *self.parts}))

    def find(self, reference: Reference) -> Axis | Part | Special:
        """Return the object that a reference names; the name must be declared."""
        if isinstance(reference, str):
            return self.axes.get(reference) or self.parts[reference]
        return reference

    def default_size(self, split: Split) -> int | str | Special:
        """Return the size of a split that one of its declarations gives; 1 if none does."""
        return default_size(self.parts[split.inner.name or label(split.outer)])

    def independent(self, a: Reference, b: Reference) -> bool:
        """Return True if two references vary independently: other axes, or parts of one chain of splits."""
        first, second = self.find(a), self.find(b)
        if isinstance(first, Part) and first.other == second:
            return True
        if isinstance(first, Part) and all(self.independent(of, second) for of in first.split.of):
            return True
        if isinstance(second, Part):
            return all(self.independent(first, of) for of in second.split.of)
        return isinstance(first, Axis) and isinstance(second, Axis) and first.name != second.name


def declare(declared: Iterable[DeclaredMode], registry: Registry, problems: Problems) -> Declarations:
    """Return all modes together; add to `problems` what does not fit.

    Args:
        declared: In the order of plugin names, the modes of each plugin as it yields them.
        registry: The plugins, which knows why one is not on.
        problems: Where to add what is wrong. It is raised at the end of each step that adds to it,
            because later steps would find the same mistakes again.
    """
    declared, known = tuple(declared), len(problems)
    together = Declarations()
    by_name: dict[str, DeclaredMode] = {}
    for one in declared:
        if (other := by_name.setdefault(one.mode.name, one)) is not one:
            problems.add(_declared_twice(f"mode {one.mode.name!r}", other, one))
        for item in walk(one.mode.declares):
            _add(together, item, one, problems)
    problems.raise_more_than(known)
    for one in declared:
        _check_references(together, one, registry, problems)
    problems.raise_more_than(known)
    _check_chains(together)
    for one in declared:
        _check_independent(together, one, one.mode.over or (), problems)
        _check_splits(together, one, problems)
        _check_where(together, one, problems)
    problems.raise_more_than(known)
    together.uses = {name: _uses(one, together) for name, one in by_name.items()}
    order = execution_order(together.uses, {name: one.mode.after for name, one in by_name.items()})
    together.modes = tuple(by_name[name] for name in order)
    return together


def execution_order(uses: Mapping[str, Iterable[str]], after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return modes in the order in which they are planned and built, whatever is installed how.

    Each mode comes after those that it uses and those in its `after`. Of all such orders this is
    the smallest by name.

    >>> execution_order({"model": {"pipe", "tensor"}, "pipe": (), "tensor": ()}, {"pipe": ["zero1", "tensor"]})
    ('tensor', 'pipe', 'model')

    Args:
        uses: For each mode the modes that declare what it is over, itself included or not.
        after: For each mode those in its `after`; those that no plugin declares count as met.

    Raises:
        PluginError: showing the cycle, if there is one.
    """
    before = {name: sorted(({*used} - {name}) | ({*after.get(name, ())} & uses.keys())) for name, used in uses.items()}
    sorter = prepared(before, "Modes come after one another", " after ")
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, name)
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
    return tuple(order)


def prepared(before: Mapping[str, Iterable[str]], what: str, after: str) -> graphlib.TopologicalSorter[str]:
    """Return a prepared sorter of names, each with those that come before it.

    Raises:
        PluginError: showing the cycle, if there is one.
    """
    sorter = graphlib.TopologicalSorter(before)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        cycle = after.join(map(repr, reversed(error.args[1])))
        raise PluginError(f"{what} in a cycle: {cycle}.") from None
    return sorter


def _add(together: Declarations, item: Reference, by: DeclaredMode, problems: Problems) -> None:
    for name, what in named(item).items():
        known = together.axes.get(name) or together.parts.get(name)
        if known is None:
            together.owners[name] = by
            if isinstance(what, Axis):
                together.axes[name] = what
            else:
                together.parts[name] = what
        elif known != what or (isinstance(what, Axis) and together.owners[name].plugin != by.plugin):
            problems.add(_declared_twice(f"size {name!r}", together.owners[name], by))
        elif isinstance(what, Part) and isinstance(known, Part) and what.split.size not in (None, known.split.size):
            if known.split.size is not None:
                problems.add(_two_sizes(known, together.owners[name], what, by))
            else:
                together.owners[name], together.parts[name] = by, what


def _declared_twice(what: str, first: DeclaredMode, second: DeclaredMode) -> PluginError:
    if first.plugin == second.plugin:
        text = f"{what} is declared twice by {first.plugin}.\nRename it, or refer to the first by name."
        return plugin_error(text, first.plugin)
    out = without(first.plugin, second.plugin)
    way_out = f"Uninstall one, or leave one out with {out}; to use what another plugin declares"
    text = f"{what} is declared by {first.plugin} and by {second.plugin}.\n{way_out}, refer to it by name."
    return plugin_error(text, first.plugin, second.plugin)


def _two_sizes(first: Part, owner: DeclaredMode, second: Part, by: DeclaredMode) -> PluginError:
    sizes = f"size={first.split.size!r} by {owner} and with size={second.split.size!r} by {by}"
    way_out = "Leave size= out in all but one; to use what another mode declares, refer to it by name"
    way_out += f". Until then, run with {without(owner.plugin, by.plugin)}" if owner.plugin != by.plugin else ""
    return plugin_error(f"{label(first)!r} is declared with {sizes}.\n{way_out}.", owner.plugin, by.plugin)


def _check_references(together: Declarations, one: DeclaredMode, registry: Registry, problems: Problems) -> None:
    """Add each name that no mode declares, and that is needed by over, by a split or as a size."""
    known = together.size_names()
    for item in walk(one.mode.declares):
        needed = (item, default_size(item) if isinstance(item, Axis | Part) else None)
        for name in (name for name in needed if isinstance(name, str) and name not in known):
            if name in registry.off:
                text = f"{one} needs {name!r}, but plugin {name!r} is {registry.off[name]}.\n"
                problems.add(ConfigError(f"{text}Switch {name!r} on, or disable {one.plugin.name!r} too.", plugin=name))
            else:
                problems.add(one.error(f"needs {name!r}, which no plugin declares. {registry.unknown(name, known)}"))


def _check_chains(together: Declarations) -> None:
    """Raise PluginError for splits that are, by name, parts of themselves."""
    parts = together.parts.items()
    of = {name: [item for item in walk(part.split.of) if isinstance(item, str)] for name, part in parts}
    prepared(of, "Splits nest", " of ")


def _check_splits(together: Declarations, one: DeclaredMode, problems: Problems) -> None:
    """Add the splits of what is not independent, and of parts of ragged splits."""
    for split in (item.split for item in walk(one.mode.declares) if isinstance(item, Part)):
        _check_independent(together, one, split.of, problems)
        for item in split.of:
            part = together.find(item)
            if isinstance(part, Part) and part.split.ragged:
                rule = "a part of a ragged split, which cannot be split again"
                problems.add(one.error(f"splits {label(item)!r}, {rule}."))


def _check_where(together: Declarations, one: DeclaredMode, problems: Problems) -> None:
    """Add each name in `where` that varies inside a group or with another name in it, and each ragged part."""
    over = one.mode.over or ()
    for index, name in enumerate(one.mode.where):
        given = f"has where={shown(one.mode.where)}"
        for other in (*over, *list(one.mode.where)[:index]):
            if not together.independent(name, other):
                rule = f"{label(other)!r} must not touch {name!r}"
                if other in over:
                    rule = f"it is over {label(other)!r}, which must not touch {name!r}"
                    rule += "; at= keeps positions of each group"
                problems.add(one.error(f"{given}; {rule}."))
        for item in map(together.find, (name, *over)):
            if isinstance(item, Part) and item.split.ragged:
                rule = f"{given}, which does not go with a ragged split, as that of {label(item)!r}"
                problems.add(one.error(f"{rule}. List the groups with groups=."))


def _check_independent(
    together: Declarations, one: DeclaredMode, references: tuple[Reference, ...], problems: Problems
) -> None:
    for first, second in combinations(references, 2):
        if label(first) == label(second):
            problems.add(one.error(f"names {label(first)!r} twice."))
        elif not together.independent(first, second):
            both = f"puts {label(first)!r} and {label(second)!r} together, which are not independent"
            problems.add(one.error(f"{both}: take other axes, or parts of one chain of splits."))


def _uses(one: DeclaredMode, together: Declarations) -> dict[str, set[str]]:
    """Return the other modes that declare what a mode is over, each with the names of that."""
    uses: dict[str, set[str]] = {}
    for name in {name for item in walk(one.mode.declares) for name in _needs(item, together)}:
        if (owner := together.owners[name].mode.name) != one.mode.name:
            uses.setdefault(owner, set()).add(name)
    return uses


def _needs(reference: Reference, together: Declarations) -> Iterator[str]:
    """Yield the axes and named parts that a reference is made of."""
    found = together.find(reference)
    if isinstance(found, Axis | Part):
        yield from named(found)
    if isinstance(found, Part):
        for of in found.split.of:
            yield from _needs(of, together)
