"""All declared modes together: who owns which size, and in which order modes are built."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pgregistry.errors import ConfigError, PluginError, Problems, did_you_mean, listing
from pgregistry.planning.execution import execution_order
from pgregistry.registry.plugin import Plugin
from pgregistry.vocabulary import REST, Axis, Mode, Part, Reference, Special


@dataclass(frozen=True, slots=True)
class Declared:
    """A mode and the plugin that declares it."""

    mode: Mode
    plugin: Plugin

    def __str__(self) -> str:
        return f"mode {self.mode.name!r} ({self.plugin})"


@dataclass(slots=True)
class Declarations:
    """What all plugins of a run declare, checked to fit together.

    Attributes:
        modes: In execution order: a mode after those it refers to and those in its `after`;
            of all such orders the smallest by name.
        axes: By name.
        parts: The named parts of splits, by name.
        owners: The mode that declares each axis and named part: the first of its plugin.
        uses: For each mode the other modes that declare what it is over, with the names of that.
    """

    modes: tuple[Declared, ...] = ()
    axes: dict[str, Axis] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    owners: dict[str, Declared] = field(default_factory=dict)
    uses: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def sized(self) -> tuple[str, ...]:
        """The names of all sizes, sorted."""
        return tuple(sorted({*self.axes, *self.parts}))

    def find(self, reference: Reference) -> Axis | Part | Special:
        """What a reference means; the name must be known."""
        if isinstance(reference, str):
            return self.axes.get(reference) or self.parts[reference]
        return reference

    def roots(self, reference: Reference) -> frozenset[Axis | Special]:
        """The axes (or WORLD) that a reference is made of."""
        found = self.find(reference)
        if isinstance(found, Part):
            return frozenset().union(*map(self.roots, found.split.of))
        return frozenset([found])

    def separate(self, a: Reference, b: Reference) -> bool:
        """Whether two references can vary independently: other axes, or parts of one chain of splits."""
        first, second = self.find(a), self.find(b)
        if isinstance(first, Part) and first.other == second:
            return True
        if isinstance(first, Part) and all(self.separate(of, second) for of in first.split.of):
            return True
        if isinstance(second, Part):
            return all(self.separate(first, of) for of in second.split.of)
        return isinstance(first, Axis) and isinstance(second, Axis) and first.name != second.name


def label(reference: Reference) -> str:
    """How a reference is shown.

    >>> from pgregistry import Split, WORLD
    >>> label(WORLD), label(Split("data", inner="zero1").inner), label(Split("data", inner="zero1").outer)
    ('world', 'zero1', 'data / zero1')
    """
    if isinstance(reference, str):
        return reference
    if isinstance(reference, Axis):
        return reference.name
    if isinstance(reference, Part):
        of = " × ".join(map(label, reference.split.of))
        return reference.name or f"{of} / {reference.other.name}"
    return "world"


def declare(declared: Iterable[Declared], absent: Mapping[str, str], problems: Problems) -> Declarations:
    """Put modes together; add to `problems` what does not fit.

    Args:
        declared: In the order of plugin names, each plugin's modes as it yields them.
        absent: Names of plugins that are installed but not on, with the reason.
        problems: Where to add what is wrong.
    """
    declared = tuple(declared)
    known = len(problems)
    together = Declarations()
    by_name: dict[str, Declared] = {}
    for one in declared:
        if (other := by_name.setdefault(one.mode.name, one)) is not one:
            problems.add(_twice(f"mode {one.mode.name!r}", other, one))
        for item in walk(one.mode.declares):
            _add(together, item, one, problems)
    _raise_more_than(known, problems)
    for one in declared:
        _check_references(together, one, absent, problems)
    _raise_more_than(known, problems)
    _check_chains(together)
    for one in declared:
        _check_independent(together, one, problems)
    _raise_more_than(known, problems)
    together.uses = {name: _uses(one, together) for name, one in by_name.items()}
    order = execution_order(together.uses, {name: one.mode.after for name, one in by_name.items()})
    together.modes = tuple(by_name[name] for name in order)
    return together


def default_sizes(modes: Iterable[Mode]) -> dict[str, int | str]:
    """The sizes that modes declare, with their defaults; a special one by its name."""
    defaults: dict[str, int | str] = {}
    for mode in modes:
        for item in walk(mode.declares):
            if isinstance(item, Axis):
                defaults[item.name] = _shown(item.size)
            elif isinstance(item, Part):
                inner, outer = item.split.inner.name, item.split.outer.name
                defaults[inner or outer or ""] = _shown(item.split.size)
                if inner and outer:
                    defaults[outer] = _shown(REST)
    return defaults


def _shown(size: int | str | Special) -> int | str:
    return repr(size) if isinstance(size, Special) else size


def _raise_more_than(known: int, problems: Problems) -> None:
    """Stop where going on would complain of the same things in other words."""
    if len(problems) > known:
        problems.raise_any()


def walk(references: Iterable[Reference]) -> Iterator[Reference]:
    """References and what their splits are made of, without following names."""
    for reference in references:
        yield reference
        if isinstance(reference, Part):
            yield from walk(reference.split.of)


def _add(together: Declarations, item: Reference, by: Declared, problems: Problems) -> None:
    if isinstance(item, Axis):
        named: dict[str, Axis | Part] = {item.name: item}
    elif isinstance(item, Part):
        named = {part.name: part for part in (item.split.inner, item.split.outer) if part.name}
    else:
        return
    for name, what in named.items():
        known = together.axes.get(name) or together.parts.get(name)
        if known is None:
            together.owners[name] = by
            if isinstance(what, Axis):
                together.axes[name] = what
            else:
                together.parts[name] = what
        elif known != what or together.owners[name].plugin != by.plugin:
            problems.add(_twice(f"size {name!r}", together.owners[name], by))


def _twice(what: str, first: Declared, second: Declared) -> PluginError:
    if first.plugin == second.plugin:
        return PluginError(f"{what} is declared twice by {first.plugin}.")
    names = [one.plugin.name for one in (first, second) if one.plugin.distribution]  # extra= has none to disable
    return PluginError(
        f"{what} is declared by {first.plugin} and by {second.plugin}.\n"
        f"Uninstall one, or leave one out with {listing((f'disable=[{name!r}]' for name in names), 'or')}; "
        "to use what another plugin declares, refer to it by name."
    )


def _check_references(together: Declarations, one: Declared, absent: Mapping[str, str], problems: Problems) -> None:
    known = together.sized()
    for item in walk(one.mode.declares):
        wanted = [item] if isinstance(item, str) else []
        size = item.size if isinstance(item, Axis) else item.split.size if isinstance(item, Part) else None
        wanted += [size] if isinstance(size, str) else []
        for name in wanted:
            if name in known:
                continue
            if name in absent:
                problems.add(
                    ConfigError(
                        f"{one} needs {name!r}, but plugin {name!r} is {absent[name]}.\n"
                        f"Switch {name!r} on, or disable {one.plugin.name!r} too."
                    )
                )
            else:
                problems.add(
                    PluginError(f"{one} needs {name!r}, which no plugin declares. {did_you_mean(name, known)}")
                )


def _check_chains(together: Declarations) -> None:
    """Refuse splits that are, by name, parts of themselves."""
    needs = {name: [label(of) for of in _named(part.split.of)] for name, part in together.parts.items()}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        raise PluginError(f"Splits nest in a cycle: {' of '.join(reversed(error.args[1]))}.") from None


def _named(references: Iterable[Reference]) -> Iterator[Reference]:
    return (item for item in walk(references) if isinstance(item, str))


def _check_independent(together: Declarations, one: Declared, problems: Problems) -> None:
    found = [one.mode.over or (), *(item.split.of for item in walk(one.mode.declares) if isinstance(item, Part))]
    for references in found:
        for index, first in enumerate(references):
            for second in references[:index]:
                if label(first) == label(second):
                    problems.add(PluginError(f"{one} names {label(first)!r} twice."))
                elif not together.separate(second, first):
                    problems.add(
                        PluginError(
                            f"{one} puts {label(second)!r} and {label(first)!r} together, which are not independent: "
                            "take other axes, or parts of one chain of splits."
                        )
                    )
        for item in references:
            part = together.find(item)
            if isinstance(part, Part) and part.split.ragged and references is not found[0]:
                problems.add(
                    PluginError(f"{one} splits {label(item)!r}, a part of a ragged split, which cannot be split again.")
                )


def _uses(one: Declared, together: Declarations) -> dict[str, set[str]]:
    """The other modes that declare what a mode is over, each with the names of that."""
    uses: dict[str, set[str]] = {}
    for name in {name for item in walk(one.mode.declares) for name in _needs(item, together)}:
        if (owner := together.owners[name].mode.name) != one.mode.name:
            uses.setdefault(owner, set()).add(name)
    return uses


def _needs(reference: Reference, together: Declarations) -> Iterator[str]:
    """The axes and named parts that a reference is made of."""
    found = together.find(reference)
    if isinstance(found, Axis):
        yield found.name
    elif isinstance(found, Part):
        yield from (part.name for part in (found.split.inner, found.split.outer) if part.name)
        for of in found.split.of:
            yield from _needs(of, together)
