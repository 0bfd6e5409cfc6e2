"""Axes and parts as factors of the world; a split is cut when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pgregistry.errors import ConfigError, Problems, listing
from pgregistry.layouts.factors import Factors, cut, cuts, merge, outer_sizes, run_counts, whole
from pgregistry.layouts.hosts import Hosts
from pgregistry.layouts.layout import Ragged
from pgregistry.layouts.levels import cut_at
from pgregistry.planning.declarations import Declarations
from pgregistry.planning.references import label
from pgregistry.planning.sizes.resolver import Resolver
from pgregistry.settings.merge import Settings, Sizes
from pgregistry.vocabulary import Axis, Part, Reference, Special, Split


class Cuts:
    """Axes in their nesting order, and splits of them, as factors of the world.

    Args:
        positions: How many ranks the plan lives on.
        declarations: The axes and splits.
        order: The axes, outermost first.
        axes: Their sizes.
        settings: The sizes that are given.
        hosts: The hosts, for splits at a level.
    """

    def __init__(
        self,
        positions: int,
        declarations: Declarations,
        order: Sequence[str],
        axes: Sizes,
        settings: Settings,
        hosts: Hosts,
    ) -> None:
        self.positions = positions
        self.hosts = hosts
        self._declarations = declarations
        self._given = settings.sizes
        self._resolver = Resolver(positions, declarations, settings, hosts, axes=axes, cut=self._whole)
        self._parts: dict[Axis | Part, tuple[Factors, Ragged | None]] = {}
        stride = 1
        for name in reversed(order):
            self._parts[declarations.axes[name]] = merge([(axes[name].value, stride)]), None
            stride *= axes[name].value

    @cached_property
    def values(self) -> Sizes:
        """Return the size of every axis and named part, with its origin."""
        return {name: self._resolver.size(name) for name in self._declarations.size_names()}

    def check(self, problems: Problems) -> None:
        """Add one error for each split that has no size, or that its size does not fit."""
        for part in self._declarations.parts.values():
            with problems.collecting():
                self.factors(part)

    def __contains__(self, item: object) -> bool:
        return item in self._parts

    def factors(self, reference: Reference) -> tuple[Factors, Ragged | None]:
        """Return the factors of an axis or a part, and its ragged factor if it has one.

        Raises:
            ConfigError: if its split cannot be cut at its size, with the sizes at which it can.
        """
        found = self._declarations.find(reference)
        if not isinstance(found, Axis | Part):
            return merge([(self.positions, 1)]), None
        if isinstance(found, Part) and found not in self._parts:
            self._cut(found.split)
        return self._parts[found]

    def levels(self, reference: Reference) -> frozenset[Special]:
        """Return the levels, HOST and DOMAIN, that decide the factors of an axis or a part."""
        found = self._declarations.find(reference)
        if not isinstance(found, Part):
            return frozenset()
        level = self._resolver.level(found.split, ragged=True)
        return frozenset([level] if level else []).union(*map(self.levels, found.split.of))

    def _whole(self, part: Part) -> int:
        return whole(self.factors(part)[0])

    def _cut(self, split: Split) -> None:
        """Compute both parts of a split."""
        of = merge(factor for reference in split.of for factor in self.factors(reference)[0])
        halves: tuple[Factors, Factors] | None
        if level := self._resolver.level(split):
            halves = self._at_level(split, of, level)
        else:
            size = self._inner_size(split, of)
            if split.ragged and whole(of) % size and size < whole(of) and len(of) == 1:
                for part in (split.outer, split.inner):
                    self._parts[part] = (), Ragged(whole(of), size, of[0][1], part.side)
                return
            halves = ((), of) if split.ragged and size > whole(of) else cut(of, size)
            if halves is None:
                inner_given, outer_given = (part.name in self._given for part in (split.inner, split.outer))
                by_outer = split.inner.name is None or (outer_given and not inner_given)
                raise self._does_not_fit(split.outer if by_outer else split.inner, of)
        for part, factors in zip((split.outer, split.inner), halves, strict=True):
            self._parts[part] = factors, None

    def _at_level(self, split: Split, of: Factors, level: Special) -> tuple[Factors, Factors]:
        """Return the outer and the inner factors of a split at a level."""
        part = split.inner if split.inner.name else split.outer
        share, origin = self.hosts.share(level, label(part))
        if halves := cut_at(of, min(share, self.positions)):
            return halves
        named = [one for one in (split.outer, split.inner) if one.name]
        choices = "; ".join(f"{one.name} could be {listing(_sizes(one, of), 'or')}" for one in named)
        noun, total = level.name.lower(), self._total(part, whole(of))
        rule = f"{part.name} = {level!r} must have an equal share on each {noun}"
        unequal = f"{noun}s of {share} ranks ({origin}) hold unequal shares of {total}"
        raise ConfigError(f"{rule}, but {unequal}.\n  {choices}.")

    def _inner_size(self, split: Split, of: Factors) -> int:
        inner, outer, total, given = split.inner, split.outer, whole(of), self._given
        size = self._value(inner) if inner.name else -(-total // self._value(outer))
        if outer.name and (outer.name in given or not inner.name):
            groups = self._value(outer)
            if (-(-total // size) if split.ragged else total / size) != groups:
                if inner.name not in given:
                    raise self._does_not_fit(outer, of)
                product = f"{outer.name} × {inner.name} = {groups} × {size} = {groups * size}"
                sizes = f"\n  {self._size(outer)}\n  {self._size(inner)}"
                raise ConfigError(f"{product} is not {self._total(outer, total)}.{sizes}")
        return size

    def _does_not_fit(self, part: Part, of: Factors) -> ConfigError:
        total, size = self._total(part, whole(of)), self._value(part)
        ragged = part.split.ragged and len(of) == 1
        fitting = run_counts(whole(of)) if ragged and part.side == "outer" else _sizes(part, of)
        divides = whole(of) % size == 0
        why = f"cuts {total} where none of its axes can be cut" if divides else f"does not divide {total}"
        return ConfigError(f"{self._size(part)} {why}.\n  {part.name} could be {listing(fitting, 'or')}.")

    def _value(self, part: Part) -> int:
        return self._resolver.size(label(part)).value

    def _size(self, part: Part) -> str:
        """Return `zero1 = 3 (keyword)`."""
        value = self._resolver.size(label(part))
        return f"{part.name} = {value.value} ({value.origin})"

    def _total(self, part: Part, total: int) -> str:
        """Return what a part is of: `data × tensor = 12 (what is left and keyword)`."""
        names = [label(reference) for reference in part.split.of]
        declared = self._declarations.size_names()
        origins = dict.fromkeys(self._resolver.size(name).origin for name in names if name in declared)
        return f"{' × '.join(names)} = {total}" + (f" ({listing(origins)})" if origins else "")


def _sizes(part: Part, of: Factors) -> list[int]:
    """Return the sizes of a part at which its split can be cut."""
    return cuts(of) if part.side == "inner" else outer_sizes(of)
