"""The plan: which groups a run will have, as plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pgregistry.errors import ConfigError, did_you_mean
from pgregistry.planning.plans.mode import PlannedMode


@dataclass(frozen=True, slots=True)
class Plan:
    """Every group of every mode of a run, without a process group and without torch.

    >>> import pgregistry
    >>> plan = pgregistry.plan(16, tensor=2, pipe=2)
    >>> plan["tensor"].groups
    <8 groups: (0, 1), (2, 3), (4, 5), (6, 7), …>
    >>> plan["data"].group_of(5)
    (1, 5, 9, 13)
    >>> plan.order, plan.sizes["data"]
    (('data', 'pipe', 'tensor'), 4)

    Attributes:
        world_size: The world size it is made for.
        order: The axes, outermost first.
        sizes: Every axis and named part with its size.
        origins: Where each of these sizes comes from.
        modes: The names of the modes, in the order in which they are built.
        ranks: With `within`, the ranks that the plan lives on, in order; None for all.
        fingerprint: Equal for plans that build the same process groups; nesting, origins of
            values and versions of plugins do not count.
    """

    world_size: int
    order: tuple[str, ...]
    sizes: Mapping[str, int]
    origins: Mapping[str, str]
    ranks: tuple[int, ...] | None
    planned: tuple[PlannedMode, ...]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        identity = [self.world_size, [mode.identity() for mode in self.planned]]
        digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=16)
        object.__setattr__(self, "fingerprint", digest.hexdigest())

    @property
    def modes(self) -> tuple[str, ...]:
        """The names of the modes, in the order in which they are built."""
        return tuple(mode.name for mode in self.planned)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __getitem__(self, name: str) -> PlannedMode:
        for mode in self.planned:
            if mode.name == name:
                return mode
        raise ConfigError(f"The plan has no mode {name!r}. {did_you_mean(str(name), self.modes)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.modes)

    def __len__(self) -> int:
        return len(self.planned)

    def __contains__(self, name: object) -> bool:
        return name in self.modes

    def to_json(self) -> str:
        """The plan as one JSON document; `Plan.from_json` makes an equal plan of it."""
        from pgregistry.planning.plans import document

        return document.dumps(document.of_plan(self, keep_listed=True))

    @staticmethod
    def from_json(text: str) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            ConfigError: if the text is not such a document, or was changed.
        """
        from pgregistry.planning.plans import document

        return document.to_plan(text)

    def diff(self, other: Plan) -> tuple[str, ...]:
        """What is different in another plan, a sentence each; empty for the same process groups.

        >>> import pgregistry
        >>> for line in pgregistry.plan(8, tensor=2).diff(pgregistry.plan(8, tensor=4)):
        ...     print(line)
        size tensor: 2 (keyword) here, 4 (keyword) there
        size data: 4 (what is left) here, 2 (what is left) there
        size zero1: 4 (plugin default) here, 2 (plugin default) there
        group 0 of mode data: (0, 2, 4, 6) here, (0, 4) there
        group 0 of mode tensor: (0, 1) here, (0, 1, 2, 3) there
        group 0 of mode model: (0, 1) here, (0, 1, 2, 3) there
        group 0 of mode zero1: (0, 2, 4, 6) here, (0, 4) there
        """
        from pgregistry.planning.plans import difference

        return tuple(map(str, difference.differences(self, other)))
