"""Specs: the process groups that a plan needs, one for each distinct order of ranks with equal settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan


@dataclass(frozen=True, slots=True)
class Defaults:
    """The run's settings for modes that have none.

    Attributes:
        backend: The torch backend.
        timeout: In seconds; None for torch's default.
        cpu: Whether modes have gloo companions.
        world: The backend of the default process group, if that has this backend for an accelerator, and gloo beside
            it. The default process group then serves all that is over all ranks.
    """

    backend: str
    timeout: float | None = None
    cpu: bool = False
    world: str | None = None

    def beside(self, world: str) -> Defaults:
        """Return these settings in a world whose default process group has a certain backend.

        >>> Defaults("nccl").beside("cpu:gloo,cuda:nccl").world, Defaults("nccl").beside("nccl").world
        ('cpu:gloo,cuda:nccl', None)
        """
        backends = dict(pair.split(":") for pair in world.split(",") if ":" in pair)
        gloo = backends.pop("cpu", None) == "gloo"
        return replace(self, world=world if gloo and set(backends.values()) == {self.backend} else None)


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A process group that a plan needs. Modes whose specs are equal share one process group.

    Attributes:
        ranks: Its members, as global ranks, in its order.
        backend: The torch backend.
        options: Backend options, sorted by name.
        timeout: In seconds; None for torch's default.
        owner: The mode that does not share it (`dedicated`), or None.
        mode: The first mode that needs it.
        index: Which group of that mode it is.
        companion: True for the gloo process group beside one of another backend.
    """

    ranks: tuple[int, ...]
    backend: str
    options: tuple[tuple[str, object], ...] = ()
    timeout: float | None = None
    owner: str | None = None
    mode: str = field(default="", compare=False)
    index: int = field(default=0, compare=False)
    companion: bool = field(default=False, compare=False)

    @property
    def ascends(self) -> bool:
        """Return True if the ranks ascend, as torch sorts them if it is not told otherwise."""
        return ascends(self.ranks)

    @property
    def name(self) -> str:
        """Return its name among the process groups of one plan."""
        return f"{self.mode}/{self.index}{'/gloo' * self.companion}"

    @property
    def description(self) -> str:
        """Return what torch shows of it in logs and flight records, such as "pgregistry:tensor/3"."""
        return f"pgregistry:{self.mode}/{self.index}"

    def __str__(self) -> str:
        kind = "gloo process group beside" if self.companion else "process group of"
        ranks = str(self.ranks) if len(self.ranks) <= 8 else f"of {len(self.ranks)} ranks from {self.ranks[0]}"
        return f"the {kind} mode {self.mode!r}, group {self.index} {ranks}, backend {self.backend}"


def default_group_spec(plan: Plan, defaults: Defaults) -> GroupSpec:
    """Return the spec that the default process group serves: all ranks in ascending order, with the run's settings."""
    return GroupSpec(tuple(range(plan.world_size)), defaults.backend, timeout=defaults.timeout)


def specs_of_group(mode: PlannedMode, index: int, ranks: tuple[int, ...], defaults: Defaults) -> list[GroupSpec]:
    """Return the specs of one group of a mode: its own, then that of its gloo companion if it has one."""
    backend = mode.backend or defaults.backend
    timeout = defaults.timeout if mode.timeout is None else mode.timeout
    owner = mode.name if mode.dedicated else None
    options = tuple(sorted(mode.options.items()))
    specs = [GroupSpec(ranks, backend, options, timeout, owner, mode.name, index)]
    if (defaults.cpu if mode.cpu is None else mode.cpu) and not has_gloo(backend):
        specs.append(GroupSpec(ranks, "gloo", (), timeout, owner, mode.name, index, companion=True))
    return specs


def specs_of_rank(plan: Plan, rank: int, defaults: Defaults) -> dict[str, list[GroupSpec]]:
    """Return the specs of one rank by mode, in plan order, without a look at any other group.

    >>> import pgregistry
    >>> specs = specs_of_rank(pgregistry.plan(4, tensor=2, only=["data", "tensor"]), 3, Defaults("gloo"))
    >>> {name: [spec.ranks for spec in each] for name, each in specs.items()}
    {'data': [(1, 3)], 'tensor': [(2, 3)]}
    """
    specs = {}
    for mode in plan.planned:
        ranks, index = mode.groups.group_of(rank), mode.groups.index_of(rank)
        if ranks is not None and index is not None:
            specs[mode.name] = _in_world(plan, defaults, specs_of_group(mode, index, ranks, defaults))
    return specs


def specs_of_world(plan: Plan, defaults: Defaults) -> Iterator[GroupSpec]:
    """Yield the specs of all ranks in plan order; a shared one comes once for each mode that shares it."""
    for mode in plan.planned:
        for index, ranks in enumerate(mode.groups):
            yield from _in_world(plan, defaults, specs_of_group(mode, index, ranks, defaults))


def _in_world(plan: Plan, defaults: Defaults, specs: list[GroupSpec]) -> list[GroupSpec]:
    """Return the specs of one group; what the default process group serves is that, with gloo for CPU tensors."""
    if defaults.world is not None and specs[0] == default_group_spec(plan, defaults):
        return [replace(specs[0], backend=defaults.world)]
    return specs


def new_specs(plan: Plan, defaults: Defaults, default_group: GroupSpec) -> dict[str, list[GroupSpec]]:
    """Return the specs of the process groups that all ranks together must make, by the mode that is first to need each.

    Args:
        plan: The plan. Its groups are listed once.
        defaults: The run's settings.
        default_group: The spec of the default process group, which is there already.
    """
    new: dict[str, list[GroupSpec]] = {name: [] for name in plan.modes}
    seen = {default_group}
    for spec in specs_of_world(plan, defaults):
        if spec not in seen:
            seen.add(spec)
            new[spec.mode].append(spec)
    return new


def ascends(ranks: Sequence[int]) -> bool:
    """Return True if ranks ascend.

    >>> ascends((0, 1, 3)), ascends((3, 2, 1, 0))
    (True, False)
    """
    return all(low < high for low, high in pairwise(ranks))


def has_gloo(backend: str) -> bool:
    """Return True if process groups of a backend take CPU tensors by gloo.

    >>> has_gloo("gloo"), has_gloo("cpu:gloo,cuda:nccl"), has_gloo("nccl")
    (True, True, False)
    """
    return backend == "gloo" or "cpu:gloo" in backend.split(",")
