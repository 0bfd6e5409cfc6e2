"""The mesh: every axis and part of a plan as factors of the world, and the groups over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, islice
from types import MappingProxyType

from pgregistry.errors import ConfigError, PluginError, Problems, describe, did_you_mean, listing
from pgregistry.layouts.groups import Groups, ListedGroups, laid_out
from pgregistry.layouts.layout import (
    Factors,
    Layout,
    Ragged,
    coordinate,
    cut,
    cuts,
    merge,
    outer_sizes,
    pin,
    run_counts,
    whole,
)
from pgregistry.planning.declarations import Declarations, DeclaredMode
from pgregistry.planning.references import label, walk
from pgregistry.settings.merge import Settings, Sizes
from pgregistry.values import shown, whole_number
from pgregistry.vocabulary import WORLD, Axis, Mode, OneOrMore, Part, Reference, Split


class Mesh:
    """The sizes and groups of the axes of a plan: the argument of a `groups=` function.

    It does not know the rank, so the function returns the same groups on every rank.

    >>> import pgregistry
    >>> def ends(mesh: pgregistry.Mesh) -> list[tuple[int, int]]:
    ...     return [(group[0], group[-1]) for group in mesh.groups("pipe") if mesh.sizes["pipe"] > 1]
    >>> plan = pgregistry.plan(8, pipe=4, extra=[pgregistry.Mode("ends", groups=ends)])
    >>> plan["ends"].groups
    <2 groups: (0, 3), (4, 7)>

    Attributes:
        world_size: How many ranks the plan has.
        sizes: The size of every axis and named part.
    """

    def __init__(
        self, world_size: int, declarations: Declarations, order: Sequence[str], sizes: Sizes, settings: Settings
    ) -> None:
        self.world_size = world_size
        self.sizes: Mapping[str, int] = MappingProxyType({name: size.value for name, size in sizes.items()})
        self._values = sizes
        self._declarations = declarations
        self._settings = settings
        self._parts: dict[Axis | Part, tuple[Factors, Ragged | None]] = {}
        stride = 1
        for name in reversed(order):
            self._parts[declarations.axes[name]] = merge([(self.sizes[name], stride)]), None
            stride *= self.sizes[name]

    @property
    def ranks_per_host(self) -> int:
        """Return how many ranks one host has.

        Raises:
            ConfigError: if neither the user nor the launcher set it.
        """
        return self._settings.host_size().value

    def coordinate(self, axis: str, rank: int) -> int:
        """Return the position of a rank along an axis or a named part.

        With data=2, pipe=2 and tensor=2, rank 5 = 1·4 + 0·2 + 1 has data coordinate 1 and
        tensor coordinate 1.

        Raises:
            ConfigError: if the rank is out of range.
            PluginError: if no mode declares the axis.
        """
        if not 0 <= rank < self.world_size:
            raise ConfigError(f"rank {shown(rank)} is out of range; the plan has ranks 0 to {self.world_size - 1}.")
        (reference,) = Mode("coordinate", over=[axis]).over or ()
        self._check_declared([reference])
        factors, ragged = self._factors(reference)
        return coordinate(factors, rank) if ragged is None else ragged.digits(rank)[1]

    def groups(self, over: OneOrMore) -> Groups:
        """Return the groups over axes and parts, as `Mode(over=…)` has them.

        Raises:
            PluginError: if no mode declares one of them, or they are not independent.
        """
        mode = Mode("groups", over=over)
        references = mode.over or ()
        self._check_declared(references)
        for one, other in combinations(references, 2):
            if not self._declarations.independent(one, other):
                both = f"{label(one)!r} and {label(other)!r}"
                raise PluginError(f"{both} are not independent, so no groups are over both.")
        return laid_out(self.layout(mode))

    def layout(self, mode: Mode) -> Layout:
        """Return the groups of a mode that is over axes, in closed form."""
        parts = [self._factors(reference) for reference in mode.over or ()]
        factors = [factor for regular, _ in parts for factor in regular]
        runs = [ragged for _, ragged in parts if ragged]
        if len(runs) == 2 and runs[0].stride == runs[1].stride:  # both parts of one split: all of it
            factors.append((runs[0].whole, runs[0].stride))
            runs = []
        if len(runs) > 1:
            raise PluginError(f"mode {mode.name!r} is over two ragged splits, which have no closed form; use groups=.")
        where = pin((self._factors(name)[0], position) for name, position in mode.where.items())
        return Layout(self.world_size, merge(factors), runs[0] if runs else None, mode.at, where)

    def check_splits(self, problems: Problems) -> None:
        """Add one error for each split whose size does not fit."""
        for part in self._declarations.parts.values():
            with problems.collecting():
                self._factors(part)

    def _check_declared(self, references: Iterable[Reference]) -> None:
        """Raise PluginError for what no mode declares, and for another axis or split of a declared name."""
        found = list(walk(references))
        for item in found:
            if item is not WORLD and label(item) not in self.sizes and item not in self._parts:
                raise PluginError(f"no mode declares {label(item)!r}. {did_you_mean(label(item), self.sizes)}")
        for item in found:
            if isinstance(item, Axis | Part) and item not in self._parts:
                name, declared = label(item), self._declarations.find(label(item))
                what = f"{item!r} is not {declared!r}, which a mode declares as {name!r}"
                raise PluginError(f"{what}; use the name {name!r} to refer to it.")

    def _factors(self, reference: Reference) -> tuple[Factors, Ragged | None]:
        found = self._declarations.find(reference)
        if not isinstance(found, Axis | Part):
            return merge([(self.world_size, 1)]), None
        if isinstance(found, Part) and found not in self._parts:
            self._cut(found.split)
        return self._parts[found]

    def _cut(self, split: Split) -> None:
        """Compute both parts of a split."""
        of = merge(factor for reference in split.of for factor in self._factors(reference)[0])
        size, given = self._inner_size(split, of), self._settings.sizes
        outer: Factors = ()
        if split.ragged and size > whole(of):
            inner = of
        elif split.ragged and whole(of) % size and len(of) == 1:
            for part in (split.outer, split.inner):
                self._parts[part] = (), Ragged(whole(of), size, of[0][1], part.side)
            return
        elif parts := cut(of, size):
            outer, inner = parts
        elif split.inner.name is None or (split.outer.name in given and split.inner.name not in given):
            raise self._does_not_fit(split.outer, whole(of), outer_sizes(of))
        else:
            raise self._does_not_fit(split.inner, whole(of), cuts(of))
        self._parts[split.outer], self._parts[split.inner] = (outer, None), (inner, None)

    def _inner_size(self, split: Split, of: Factors) -> int:
        inner, outer, total, given = split.inner, split.outer, whole(of), self._settings.sizes
        size = self.sizes[inner.name] if inner.name else -(-total // self.sizes[label(outer)])
        if outer.name and (outer.name in given or not inner.name):
            groups = self.sizes[outer.name]
            if (-(-total // size) if split.ragged else total / size) != groups:
                if inner.name not in given:
                    fitting = run_counts(total) if split.ragged and len(of) == 1 else outer_sizes(of)
                    raise self._does_not_fit(outer, total, fitting)
                product = f"{outer.name} × {inner.name} = {groups} × {size} = {groups * size}"
                sizes = f"\n  {self._size(outer)}\n  {self._size(inner)}"
                raise ConfigError(f"{product} is not {self._total(outer, total)}.{sizes}")
        return size

    def _does_not_fit(self, part: Part, total: int, fitting: Sequence[int]) -> ConfigError:
        of = self._total(part, total)
        divides = total % self.sizes[label(part)] == 0
        why = f"cuts {of} where none of its axes can be cut" if divides else f"does not divide {of}"
        return ConfigError(f"{self._size(part)} {why}.\n  {part.name} could be {listing(fitting, 'or')}.")

    def _size(self, part: Part) -> str:
        """Return `zero1 = 3 (keyword)`."""
        value = self._values[label(part)]
        return f"{part.name} = {value.value} ({value.origin})"

    def _total(self, part: Part, total: int) -> str:
        """Return what a part is of: `data × tensor = 12 (what is left and keyword)`."""
        names = [label(reference) for reference in part.split.of]
        origins = dict.fromkeys(self._values[name].origin for name in names if name in self._values)
        return f"{' × '.join(names)} = {total}" + (f" ({listing(origins)})" if origins else "")


def checked_groups(one: DeclaredMode, mesh: Mesh) -> Groups:
    """Return the groups that a `groups=` function lists.

    Raises:
        PluginError: if the function raises, or its groups are not disjoint lists of ranks.
    """
    member: dict[int, tuple[int, ...]] = {}
    for given in _listed(one, mesh):
        group = _ranks(one, given)
        if not group:
            raise one.error("has an empty group; leave it out.")
        if not 0 <= min(group) <= max(group) < mesh.world_size:
            raise one.error(f"has group {shown(group)}, but the ranks must be from 0 to {mesh.world_size - 1}.")
        if len(set(group)) != len(group):
            raise one.error(f"has group {shown(group)}, which must have each rank once.")
        for rank in group:
            if rank in member:
                raise one.error(f"puts rank {rank} into two groups, {shown(member[rank])} and {shown(group)}.")
            member[rank] = group
    return ListedGroups(dict.fromkeys(member.values()))


def _listed(one: DeclaredMode, mesh: Mesh) -> list[tuple[object, ...]]:
    function = one.mode.groups
    try:
        # More groups than ranks, and longer ones, are wrong in any case, and may never end.
        most = mesh.world_size + 1
        return [tuple(islice(group, most)) for group in islice(function(mesh), most)] if function else []
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{one}: its groups function raised {describe(error)}", plugin=one.plugin.name) from error


def _ranks(one: DeclaredMode, given: tuple[object, ...]) -> tuple[int, ...]:
    """Return a group with its ranks as ints; the function may give integers of numpy."""
    ranks = []
    for rank in given:
        number = whole_number(rank)
        if number is None:
            raise one.error(f"has group {shown(given)} with {shown(rank)}, which is not a rank.")
        ranks.append(number)
    return tuple(ranks)
