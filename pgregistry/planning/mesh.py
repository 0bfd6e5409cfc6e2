"""The mesh: every axis and part of a run as factors of the world, and the groups over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any

from pgregistry.errors import ConfigError, PluginError, did_you_mean, listing
from pgregistry.layouts.groups import Groups, laid_out
from pgregistry.layouts.layout import Factors, Layout, Ragged, coordinate, cut, cuts, merge, whole
from pgregistry.planning.declarations import Declarations, label, walk
from pgregistry.settings.merge import ConfigValue, Settings
from pgregistry.vocabulary import WORLD, Axis, Mode, OneOrMore, Part, Reference, Split


class Mesh:
    """What a `groups=` function is given: the sizes and the groups that axes make, never the rank.

    Attributes:
        world_size: How many ranks the plan has.
        sizes: Every axis and named part with its size.
    """

    def __init__(
        self,
        world_size: int,
        declarations: Declarations,
        order: Sequence[str],
        sizes: Mapping[str, ConfigValue[int]],
        settings: Settings,
    ) -> None:
        self.world_size = world_size
        self.sizes: Mapping[str, int] = MappingProxyType({name: size.value for name, size in sizes.items()})
        self._origins = {name: size.origin for name, size in sizes.items()}
        self._given = settings.sizes
        self._declarations = declarations
        self._settings = settings
        self._parts: dict[Axis | Part, tuple[Factors, Ragged | None]] = {}
        stride = 1
        for name in reversed(order):
            self._parts[declarations.axes[name]] = merge([(self.sizes[name], stride)]), None
            stride *= self.sizes[name]

    @property
    def ranks_per_host(self) -> int:
        """How many ranks one host has.

        Raises:
            ConfigError: if neither the user nor the launcher said.
        """
        return self._settings.host_size().value

    def coordinate(self, axis: str, rank: int) -> int:
        """The position of a rank along an axis or a named part.

        With data=2, pipe=2 and tensor=2, rank 5 = 1·4 + 0·2 + 1 has data coordinate 1 and
        tensor coordinate 1.
        """
        if not 0 <= rank < self.world_size:
            raise ConfigError(f"rank {rank} is out of range; the plan has {self.world_size} ranks.")
        factors, ragged = self._factors(self._known(axis))
        if ragged is None:
            return coordinate(factors, rank)
        position = rank // ragged.stride % ragged.whole
        return position % ragged.size if ragged.side == "inner" else position // ragged.size

    def groups(self, over: OneOrMore) -> Groups:
        """The groups over axes and parts, as `Mode(over=…)` would have them."""
        mode = Mode("groups", over=over)
        for reference in walk(mode.over or ()):
            declared = reference is WORLD or label(reference) in self.sizes or reference in self._parts
            if not declared:
                raise PluginError(
                    f"no mode declares {label(reference)!r}. {did_you_mean(label(reference), self.sizes)}"
                )
        for one, other in combinations(mode.over or (), 2):
            if not self._declarations.separate(one, other):
                raise PluginError(
                    f"{label(one)!r} and {label(other)!r} are not independent, so no groups are over both."
                )
        return laid_out(self.layout(mode))

    def layout(self, mode: Mode) -> Layout:
        """A mode that is over axes, in closed form."""
        factors: list[tuple[int, int]] = []
        runs: list[Ragged] = []
        for reference in mode.over or ():
            regular, ragged = self._factors(self._known(reference))
            factors += regular
            runs += [ragged] if ragged else []
        if len(runs) == 2 and runs[0].stride == runs[1].stride:  # both parts of one split: all of it
            factors.append((runs[0].whole, runs[0].stride))
            runs = []
        if len(runs) > 1:
            raise PluginError(f"mode {mode.name!r} is over two ragged splits, which no closed form says; use groups=.")
        return Layout(self.world_size, merge(factors), runs[0] if runs else None, mode.at)

    def check_splits(self) -> list[ConfigError]:
        """What is wrong with the sizes of splits: one error for each cut that does not fit."""
        wrong: list[ConfigError] = []
        for part in self._declarations.parts.values():
            try:
                self._factors(part)
            except ConfigError as error:
                wrong.append(error)
        return wrong

    def _known(self, reference: Reference) -> Reference:
        if isinstance(reference, str) and reference not in self.sizes:
            raise PluginError(f"no axis or part is called {reference!r}. {did_you_mean(reference, self.sizes)}")
        return reference

    def _factors(self, reference: Reference) -> tuple[Factors, Ragged | None]:
        found: Any = self._declarations.find(reference)
        if found is WORLD:
            return merge([(self.world_size, 1)]), None
        if found not in self._parts:
            self._cut(found.split)
        return self._parts[found]

    def _cut(self, split: Split) -> None:
        """Work out both parts of a split."""
        of = merge(factor for reference in split.of for factor in self._factors(reference)[0])
        size = self._inner_size(split, of)
        outer: Factors = ()
        if split.ragged and size > whole(of):
            inner = of
        elif split.ragged and whole(of) % size and len(of) == 1:
            runs = {part: Ragged(whole(of), size, of[0][1], part.side) for part in (split.outer, split.inner)}
            self._parts.update({part: ((), ragged) for part, ragged in runs.items()})
            return
        elif parts := cut(of, size):
            outer, inner = parts
        else:
            raise ConfigError(self._does_not_fit(split, of))
        self._parts[split.outer], self._parts[split.inner] = (outer, None), (inner, None)

    def _inner_size(self, split: Split, of: Factors) -> int:
        inner, outer, total = split.inner, split.outer, whole(of)
        size = self.sizes[inner.name] if inner.name else -(-total // self.sizes[label(outer)])
        if outer.name and (outer.name in self._given or not inner.name):
            groups = self.sizes[outer.name]
            if (-(-total // size) if split.ragged else total / size) != groups:
                if inner.name not in self._given:
                    sizes = range(1, total + 1) if split.ragged and len(of) == 1 else cuts(of)
                    raise ConfigError(self._does_not_divide(outer, total, sorted({-(-total // n) for n in sizes})))
                raise ConfigError(
                    f"{outer.name} × {inner.name} = {groups} × {size} = {groups * size} "
                    f"is not {self._total(outer, total)}."
                    f"\n  {self._said(outer)}\n  {self._said(inner)}"
                )
        return size

    def _does_not_fit(self, split: Split, of: Factors) -> str:
        inner, outer, total = split.inner, split.outer, whole(of)
        if inner.name is None or (outer.name in self._given and inner.name not in self._given):
            part, fitting = outer, sorted(total // size for size in cuts(of))
        else:
            part, fitting = inner, cuts(of)
        if total % self.sizes[label(part)]:
            return self._does_not_divide(part, total, fitting)
        return (
            f"{self._said(part)} cuts {self._total(part, total)} where none of its axes can be cut.\n"
            f"  {part.name} could be {listing(fitting, 'or')}."
        )

    def _does_not_divide(self, part: Part, total: int, fitting: Sequence[int]) -> str:
        return (
            f"{self._said(part)} does not divide {self._total(part, total)}.\n"
            f"  {part.name} could be {listing(fitting, 'or')}."
        )

    def _said(self, part: Part) -> str:
        return f"{part.name} = {self.sizes[label(part)]} ({self._origins[label(part)]})"

    def _total(self, part: Part, total: int) -> str:
        names = [label(reference) for reference in part.split.of]
        origins = dict.fromkeys(self._origins[name] for name in names if name in self._origins)
        return f"{' × '.join(names)} = {total}" + (f" ({listing(origins)})" if origins else "")
