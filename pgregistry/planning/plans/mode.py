"""One mode of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pgregistry.layouts.factors import Factors
from pgregistry.layouts.groups import Groups
from pgregistry.layouts.layout import Layout
from pgregistry.registry.plugin import Plugin
from pgregistry.settings.merge import DEFAULT
from pgregistry.settings.named import OPTION


@dataclass(frozen=True, slots=True)
class PlannedMode:
    """One mode of a plan.

    >>> import pgregistry
    >>> mode = pgregistry.plan(8, tensor=2)["tensor"]
    >>> mode.over, mode.groups, mode.group_of(5)
    (('tensor',), <4 groups: (0, 1), (2, 3), (4, 5), (6, 7)>, (4, 5))

    Attributes:
        name: The name of the mode.
        plugin: The plugin that declares it.
        over: The names of what varies inside a group.
        where: The positions of axes and parts that all groups are at, by name.
        layout: The groups in closed form; None for those that a function listed.
        groups: A lazy sequence of rank tuples, ascending by first rank.
        dedicated: True if it refuses to share process groups.
        backend, timeout, cpu: As the mode or the run sets them; None for the run's default.
        options: Backend options: the run's over those of `pgregistry_process_group_options` over the mode's own.
        needs_hosts: Whether its groups were made from which ranks share a host.
        needs_domains: Whether they were also made from which hosts share a domain.
        said_options: Those that the mode and the run say, which the fingerprint covers. None if there are no others.
        origins: Where the run says backend, timeout, cpu, dedicated and options (as `options.NAME`).
    """

    name: str
    plugin: Plugin
    over: tuple[str, ...]
    layout: Layout | None
    groups: Groups
    dedicated: bool = False
    backend: str | None = None
    timeout: float | None = None
    cpu: bool | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    said_options: Mapping[str, object] | None = None
    needs_hosts: bool = False
    needs_domains: bool = False
    where: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, self.plugin, self.layout))  # not all of `options` and `groups` is hashable

    def group_of(self, rank: int) -> tuple[int, ...] | None:
        """Return the group that a rank is in; None for a rank that is in no group of this mode."""
        return self.groups.group_of(rank)

    def factors(self) -> Factors | None:
        """Return the canonical (size, stride) pairs, outermost first, a ragged one at its full size."""
        return None if self.layout is None else self.layout.free()

    def option_origins(self) -> dict[str, str]:
        """Return the origin of each backend option."""
        own = self.options if self.said_options is None else self.said_options
        return {
            key: self.origins.get(f"options.{key}")
            or (str(self.plugin) if own.get(key) == value else "pgregistry_process_group_options")
            for key, value in self.options.items()
        }

    def said(self) -> Iterator[tuple[str, object, str]]:
        """Yield the keys of a mode's table that are set, as `backend` and `options.NAME`, with value and origin."""
        values: dict[str, object] = {key: getattr(self, key) for key in ("backend", "timeout", "cpu")}
        values["dedicated"] = self.dedicated if self.dedicated or "dedicated" in self.origins else None
        for key, value in values.items():
            if value is not None or key in self.origins:
                yield key, value, self.origins.get(key, DEFAULT)
        for name, origin in sorted(self.option_origins().items()):
            yield OPTION + name, self.options[name], origin

    def identity(self) -> list[object]:
        """Return plain values that are equal only if the same process groups would be built."""
        options = dict(sorted((self.options if self.said_options is None else self.said_options).items()))
        return [self.name, self.groups.key(), self.dedicated, self.backend, self.timeout, options, self.cpu]
