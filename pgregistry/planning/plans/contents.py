"""The data of a plan, below the modules that write it as JSON and compare it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgregistry.errors import ConfigError, did_you_mean
from pgregistry.layouts.hosts import Hosts
from pgregistry.layouts.placement import Reach, reach
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.settings.merge import ConfigValue, Sizes
from pgregistry.settings.named import perhaps_off
from pgregistry.values import shown


@dataclass(frozen=True, slots=True)
class PlanContents:
    """The fields of a `Plan`, which documents them."""

    world_size: int
    order: tuple[str, ...]
    values: Sizes
    ranks: tuple[int, ...] | None
    planned: tuple[PlannedMode, ...]
    ranks_per_host: int | None = None
    hosts: Sequence[tuple[int, ...]] | None = None
    hosts_per_domain: int | None = None
    setting_values: Mapping[str, ConfigValue[Any]] = field(default_factory=dict)
    fingerprint: str = field(init=False)
    off: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        settings = [sorted(self.settings.items())] if self.setting_values else []
        identity = json.dumps([self.world_size, [mode.identity() for mode in self.planned], *settings])
        object.__setattr__(self, "fingerprint", hashlib.blake2b(identity.encode(), digest_size=16).hexdigest())

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of every axis and named part."""
        return {name: value.value for name, value in self.values.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Return the value of every setting that plugins declare."""
        return {name: one.value for name, one in self.setting_values.items()}

    @property
    def origins(self) -> dict[str, str]:
        """Return the origin of each size and setting, such as `keyword` or `what is left`."""
        return {name: one.origin for name, one in (*self.values.items(), *self.setting_values.items())}

    @property
    def modes(self) -> tuple[str, ...]:
        """Return the names of the modes, in the order in which they are built."""
        return tuple(mode.name for mode in self.planned)

    def reach(self, name: str) -> Reach | None:
        """Return how many groups of a mode lie inside one host, inside one domain, and across.

        >>> import pgregistry
        >>> plan = pgregistry.plan(1 << 20, tensor=8, pipe=4, ranks_per_host=8, hosts_per_domain=4)
        >>> plan.reach("tensor"), plan.reach("pipe")
        (Reach(host=131072, domain=0, across=0), Reach(host=0, domain=262144, across=0))
        >>> plan.reach("data").across
        32

        Returns:
            The numbers as `host`, `domain` (None if domains are not known) and `across`; None if hosts are not known.

        Raises:
            ConfigError: if the plan has no such mode.
        """
        return reach(self[name].groups, known_hosts(self))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __getitem__(self, name: str) -> PlannedMode:
        for mode in self.planned:
            if mode.name == name:
                return mode
        if not isinstance(name, str):
            raise ConfigError(f"The plan has no mode {shown(name)}. {did_you_mean(shown(name), self.modes)}")
        if name in self.off:
            raise ConfigError(f"The plan has no mode {name!r}: plugin {name!r} is {self.off[name]}.", plugin=name)
        hint = did_you_mean(name, self.modes) + perhaps_off(name, self.modes, self.off)
        raise ConfigError(f"The plan has no mode {shown(name)}. {hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.modes)

    def __len__(self) -> int:
        return len(self.planned)

    def __contains__(self, name: object) -> bool:
        return name in self.modes


def known_hosts(plan: PlanContents) -> Hosts:
    """Return what a plan knows of hosts."""
    listed = plan.hosts if isinstance(plan.hosts, tuple) else None
    return Hosts(plan.world_size, plan.ranks_per_host, listed, plan.hosts_per_domain, plan.ranks)
