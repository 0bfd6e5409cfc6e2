"""The mesh: every axis and part of a plan as factors of the world, and the groups over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from itertools import combinations, islice
from types import MappingProxyType
from typing import Any

from pgregistry.errors import ConfigError, PluginError, describe, did_you_mean, listing
from pgregistry.layouts.factors import coordinate, merge, pin
from pgregistry.layouts.groups import Groups, ListedGroups, laid_out
from pgregistry.layouts.layout import Layout
from pgregistry.planning.declarations import Declarations, DeclaredMode
from pgregistry.planning.references import label, walk
from pgregistry.planning.sizes.cuts import Cuts
from pgregistry.registry.plugin import plugin_error
from pgregistry.settings.merge import ConfigValue
from pgregistry.values import shown, whole_number
from pgregistry.vocabulary import HOST, WORLD, Axis, Mode, OneOrMore, Part, Reference, Special


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
        settings: The value of every setting that plugins declare.
    """

    def __init__(self, cuts: Cuts, declarations: Declarations, settings: Mapping[str, ConfigValue[Any]]) -> None:
        self.world_size = cuts.positions
        self.sizes: Mapping[str, int] = MappingProxyType({name: one.value for name, one in cuts.values.items()})
        self.settings: Mapping[str, Any] = MappingProxyType({name: one.value for name, one in settings.items()})
        self._cuts = cuts
        self._declarations = declarations
        self._asked = frozenset[Special]()

    def fresh(self) -> Mesh:
        """Return the same mesh for one mode, to find out whether that mode needs hosts or domains."""
        return copy(self)

    def levels(self, mode: Mode) -> frozenset[Special]:
        """Return the levels, HOST and DOMAIN, on which the groups of a mode depend, which were made from this mesh."""
        return self._asked.union(*map(self._cuts.levels, (*(mode.over or ()), *mode.where)))

    @property
    def ranks_per_host(self) -> int:
        """Return how many ranks each host has, of those that the plan lives on.

        Raises:
            ConfigError: if hosts are not known, or differ.
        """
        self._asked |= {HOST}
        known = self._cuts.hosts
        if known.within is None and known.hosts is None and known.ranks_per_host:
            return known.ranks_per_host
        lengths = sorted(set(map(len, self.hosts)))
        if len(lengths) > 1:
            raise ConfigError(f"A mode needs hosts of equally many ranks, but they have {listing(lengths)}.")
        return lengths[0]

    @property
    def hosts(self) -> Sequence[tuple[int, ...]]:
        """Return the ranks of each host, of those that the plan lives on.

        >>> import pgregistry
        >>> def leaders(mesh: pgregistry.Mesh) -> list[list[int]]:
        ...     return [[host[0] for host in mesh.hosts]]
        >>> leader = pgregistry.Mode("leaders", groups=leaders)
        >>> pgregistry.plan(8, hosts="0-2;3-7", extra=[leader])["leaders"].groups
        <1 group: (0, 3)>

        Raises:
            ConfigError: if hosts are not known.
        """
        self._asked |= {HOST}
        hosts = self._cuts.hosts.positions
        if self._cuts.hosts.world_size == 1:
            return ((0,),)
        if hosts is None:
            way_out = "give ranks_per_host=8 or hosts=, or let the launcher set LOCAL_WORLD_SIZE"
            raise ConfigError(f"A mode needs the number of ranks on each host, which is not known: {way_out}.")
        return hosts

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
        factors, ragged = self._cuts.factors(reference)
        return coordinate(factors, rank) if ragged is None else ragged.digits(rank)[1]

    def groups(self, over: OneOrMore) -> Groups:
        """Return the groups over axes and parts, as `Mode(over=…)` has them.

        Raises:
            PluginError: if no mode declares one of them, or they are not independent.
        """
        mode = Mode("groups", over=over)
        references = mode.over or ()
        self._check_declared(references)
        self._asked = self.levels(mode)
        for one, other in combinations(references, 2):
            if not self._declarations.independent(one, other):
                both = f"{label(one)!r} and {label(other)!r}"
                raise PluginError(f"{both} are not independent, so no groups are over both.")
        return laid_out(self.layout(mode))

    def layout(self, mode: Mode) -> Layout:
        """Return the groups of a mode that is over axes, in closed form."""
        parts = [self._cuts.factors(reference) for reference in mode.over or ()]
        factors = [factor for regular, _ in parts for factor in regular]
        runs = [ragged for _, ragged in parts if ragged]
        if len(runs) == 2 and runs[0].stride == runs[1].stride:  # both parts of one split: all of it
            factors.append((runs[0].whole, runs[0].stride))
            runs = []
        if len(runs) > 1:
            raise PluginError(f"mode {mode.name!r} is over two ragged splits, which have no closed form; use groups=.")
        pinned = ((self._cuts.factors(name)[0], position) for name, position in mode.where.items())
        where = pin(pinned) if mode.where else ()
        return Layout(self.world_size, merge(factors), runs[0] if runs else None, mode.at, where)

    def _check_declared(self, references: Iterable[Reference]) -> None:
        """Raise PluginError for what no mode declares, and for another axis or split of a declared name."""
        found = list(walk(references))
        for item in found:
            if item is not WORLD and label(item) not in self.sizes and item not in self._cuts:
                raise PluginError(f"no mode declares {label(item)!r}. {did_you_mean(label(item), self.sizes)}")
        for item in found:
            if isinstance(item, Axis | Part) and item not in self._cuts:
                name, declared = label(item), self._declarations.find(label(item))
                what = f"{item!r} is not {declared!r}, which a mode declares as {name!r}"
                raise PluginError(f"{what}; use the name {name!r} to refer to it.")


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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # not all is an Exception
        raise plugin_error(f"{one}: its groups function raised {describe(error)}", one.plugin) from error


def _ranks(one: DeclaredMode, given: tuple[object, ...]) -> tuple[int, ...]:
    """Return a group with its ranks as ints; the function may give integers of numpy."""
    ranks = []
    for rank in given:
        number = whole_number(rank)
        if number is None:
            raise one.error(f"has group {shown(given)} with {shown(rank)}, which is not a rank.")
        ranks.append(number)
    return tuple(ranks)
