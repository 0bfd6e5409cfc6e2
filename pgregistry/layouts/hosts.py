"""The hosts of a run: which ranks are on each, and how many of them are a domain, as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgregistry.errors import ConfigError, format_ranks
from pgregistry.layouts.groups import Groups, laid_out
from pgregistry.layouts.layout import Layout, Ragged
from pgregistry.layouts.levels import run_length
from pgregistry.values import shown
from pgregistry.vocabulary import DOMAIN, Special

#: Hosts, and ranks, that an error shows.
SHOWN: Final = 3


def neighbours(world_size: int, ranks_per_host: int) -> Groups:
    """Return hosts of neighbouring ranks, as many on each; the last may have fewer.

    >>> neighbours(8, 3)
    <3 groups: (0, 1, 2), (3, 4, 5), (6, 7)>
    """
    size = min(ranks_per_host, world_size)
    if world_size % size:
        return laid_out(Layout(world_size, (), Ragged(world_size, size, 1, "inner")))
    return laid_out(Layout(world_size, ((size, 1),) if size > 1 else ()))


def in_order(ranks: Sequence[int], ranks_per_host: int, world_size: int) -> tuple[tuple[int, ...], ...] | None:
    """Return hosts of ranks that follow one another in an order of all ranks; None if neighbours are together in it.

    >>> in_order([0, 2, 1, 3], 2, 4), in_order([2, 3, 0, 1], 2, 4)
    (((0, 2), (1, 3)), None)
    """
    units = [rank // ranks_per_host for rank in ranks]
    if len(ranks) != world_size or world_size % ranks_per_host or run_length(units) is not None:
        return None
    starts = range(0, world_size, ranks_per_host)
    return tuple(sorted(tuple(sorted(ranks[start : start + ranks_per_host])) for start in starts))


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of a run.

    >>> hosts = Hosts(8, ranks_per_host=4, within=(0, 1, 4, 5), origins={"ranks_per_host": "keyword"})
    >>> hosts.positions, hosts.share(Special.HOST, "shard")
    (((0, 1), (2, 3)), (2, 'ranks_per_host, keyword'))

    Attributes:
        world_size: The number of ranks.
        ranks_per_host: The number of ranks on each host.
        hosts: The ranks of each host. They count in place of `ranks_per_host`.
        hosts_per_domain: The number of hosts in each domain.
        within: The ranks that the plan lives on, in this order; None for all.
        origins: Where these values come from.
    """

    world_size: int
    ranks_per_host: int | None = None
    hosts: tuple[tuple[int, ...], ...] | None = None
    hosts_per_domain: int | None = None
    within: tuple[int, ...] | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    _runs: dict[tuple[int, bool], int | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise ConfigError if `hosts` leaves ranks out, or contradicts `ranks_per_host`."""
        if self.hosts is None:
            return
        given = f"hosts ({self.origins.get('hosts', '')})"
        if missing := sorted({*range(self.world_size)} - {rank for host in self.hosts for rank in host}):
            few = f"{format_ranks(missing[:SHOWN])}{', …' * (len(missing) > SHOWN)}"
            raise ConfigError(f"{given} must have each rank from 0 to {self.world_size - 1} once; no host has {few}.")
        if self.ranks_per_host is not None and self.ranks_per_host != self.each:
            other = f"ranks_per_host = {self.ranks_per_host} ({self.origins.get('ranks_per_host', '')})"
            raise ConfigError(f"{given} and {other} must not contradict each other. Remove one.")

    @property
    def each(self) -> int | None:
        """Return how many ranks every host has; None if that is not known, or differs."""
        if self.hosts is None:
            return self.ranks_per_host
        lengths = set(map(len, self.hosts))
        return lengths.pop() if len(lengths) == 1 else None

    @property
    def ranks(self) -> Sequence[tuple[int, ...]] | None:
        """Return the ranks of each host; None if they are not known."""
        if self.hosts is not None or self.ranks_per_host is None:
            return self.hosts
        return neighbours(self.world_size, self.ranks_per_host)

    @property
    def positions(self) -> Sequence[tuple[int, ...]] | None:
        """Return the positions of the plan on each host that has some; None if they are not known."""
        if self.within is None or self.ranks is None:
            return self.ranks
        positions: dict[int, list[int]] = {}
        for position, host in enumerate(self.units()):
            positions.setdefault(host, []).append(position)
        return tuple(tuple(positions[host]) for host in sorted(positions))

    def uneven(self) -> list[str]:
        """Return a sentence if ranks do not fill the last host, and one if hosts do not fill the last domain.

        >>> Hosts(16, ranks_per_host=3).uneven()
        ['ranks_per_host = 3 does not divide 16 ranks: the last host has 1.']
        >>> Hosts(16, ranks_per_host=4, hosts_per_domain=3).uneven(), Hosts(16, ranks_per_host=32).uneven()
        (['hosts_per_domain = 3 does not divide 4 hosts: the last domain has 1.'], [])
        """
        found, number = [], len(self.ranks or ())
        levels = [
            ("ranks_per_host", "ranks", "host", self.world_size if self.hosts is None else 0, self.ranks_per_host)
        ]
        levels.append(("hosts_per_domain", "hosts", "domain", number, self.hosts_per_domain))
        for name, units, level, count, each in levels:
            if each and count > each and (rest := count % each):
                found.append(f"{name} = {each} does not divide {count} {units}: the last {level} has {rest}.")
        return found

    def share(self, level: Special, what: str, *, ragged: bool = False) -> tuple[int, str]:
        """Return how many positions of the plan each host, or each domain, has, and where that comes from.

        Args:
            level: HOST or DOMAIN.
            what: The part that is cut at this level, for errors.
            ragged: Allow fewer on the last.

        Raises:
            ConfigError: if that is not known, or positions of a host are not neighbours, or not equally many.
        """
        if self.world_size == 1:
            return 1, "a world of 1"
        if self.ranks is None:
            way_out = "give ranks_per_host=8 or hosts=, or let the launcher set LOCAL_WORLD_SIZE"
            rule = "must know how many ranks each host has"
            raise ConfigError(f"{what} = {level!r} {rule}: {way_out}; or set {what} to a number.")
        if level is DOMAIN and self.hosts_per_domain is None:
            rule = "must know how many hosts each domain has"
            raise ConfigError(f"{what} = {level!r} {rule}: give hosts_per_domain=4, or set {what} to a number.")
        together = self.hosts_per_domain or 1 if level is DOMAIN else 1
        name = "hosts_per_domain" if level is DOMAIN else "ranks_per_host" if self.hosts is None else "hosts"
        origin = f"{name}, {self.origins.get(name, '')}"
        if (share := self.run(together, ragged=ragged)) is None:
            raise self._uneven(f"{what} = {level!r}", what, self.units(together))
        return share, origin

    def run(self, together: int = 1, *, ragged: bool = False) -> int | None:
        """Return how many positions so many hosts have together; None if they are not neighbours, or not equally many.

        Args:
            together: How many hosts.
            ragged: Allow fewer positions at the end.
        """
        if self.hosts is None and self.within is None:
            return (self.ranks_per_host or 1) * together
        if (together, ragged) not in self._runs:  # asked for each mode, in each nesting order
            self._runs[together, ragged] = run_length(self.units(together), ragged=ragged)
        return self._runs[together, ragged]

    def units(self, together: int = 1) -> list[int]:
        """Return the index of the host of each position, or of the so many hosts together that it is in."""
        ranks = range(self.world_size) if self.within is None else self.within
        if self.hosts is None:
            each = (self.ranks_per_host or 1) * together
            return [rank // each for rank in ranks]
        unit = {rank: index // together for index, host in enumerate(self.hosts) for rank in host}
        return [unit[rank] for rank in ranks]

    def _uneven(self, given: str, what: str, units: Sequence[int]) -> ConfigError:
        """Return the error for hosts or domains whose ranks are interleaved, or not equally many."""
        there: dict[int, list[int]] = {}
        for rank, unit in zip(self.within or range(self.world_size), units, strict=True):
            there.setdefault(unit, []).append(rank)
        ranks = [there[unit] for unit in sorted(there)]
        few = [f"({' '.join(map(str, one[:8]))}{' …' * (len(one) > 8)})" for one in ranks[:SHOWN]]
        name = "ranks_per_host" if self.hosts is None else "hosts"
        have = f"have {', '.join(few)}{', …' * (len(ranks) > SHOWN)} ({name}, {self.origins.get(name, '')})"
        way_out = f"Set {what} to a number"
        if len(set(map(len, ranks))) == 1:
            order = [rank for one in ranks for rank in one]
            way_out += f", or bring them together: within={order if len(order) <= 64 else shown(order)}"
        noun = f"{given.rpartition(' ')[2].lower()}s"
        return ConfigError(
            f"{given}: {noun} must hold equally many of the plan's ranks, one after another in their order, but they "
            f"{have}.\n  {way_out}."
        )
