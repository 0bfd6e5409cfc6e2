"""Which process groups a plan needs: one for each distinct set of ranks and settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a run says for the modes that say nothing: backend, timeout (seconds), gloo companions."""

    backend: str
    timeout: float | None = None
    cpu: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A process group that a plan needs; requests that are equal share one.

    Attributes:
        ranks: Its members.
        backend: The torch backend.
        options: Backend options, sorted.
        timeout: In seconds; None for torch's default.
        owner: The mode, where that is dedicated and shares with no other.
        mode: The mode that asks; the first of several that share.
        index: Which group of that mode.
        companion: Whether it is the gloo process group beside another.
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
    def name(self) -> str:
        """What the process group is called, the same on every member, whatever else they make."""
        return f"{self.mode}/{self.index}{'/gloo' * self.companion}"

    def __str__(self) -> str:
        kind = "gloo process group beside" if self.companion else "process group of"
        ranks = str(self.ranks) if len(self.ranks) <= 8 else f"of {len(self.ranks)} ranks from {self.ranks[0]}"
        return f"the {kind} mode {self.mode!r}, group {self.index} {ranks}, backend {self.backend}"


def world_request(plan: Plan, defaults: Defaults) -> Request:
    """What the default process group serves: all ranks, with the settings of the run."""
    return Request(tuple(range(plan.world_size)), defaults.backend, timeout=defaults.timeout)


def of_group(mode: PlannedMode, index: int, ranks: tuple[int, ...], defaults: Defaults) -> list[Request]:
    """The process groups for one group: its own, then the gloo one where it is asked for."""
    backend = mode.backend or defaults.backend
    timeout = defaults.timeout if mode.timeout is None else mode.timeout
    owner = mode.name if mode.dedicated else None
    options = tuple(sorted(mode.options.items()))
    requests = [Request(ranks, backend, options, timeout, owner, mode.name, index)]
    if (defaults.cpu if mode.cpu is None else mode.cpu) and not to_gloo(backend):
        requests.append(Request(ranks, "gloo", (), timeout, owner, mode.name, index, companion=True))
    return requests


def of_rank(plan: Plan, rank: int, defaults: Defaults) -> dict[str, list[Request]]:
    """The process groups of one rank by mode, in plan order, without looking at any other group."""
    wanted = {}
    for mode in plan.planned:
        ranks, index = mode.groups.group_of(rank), mode.groups.index_of(rank)
        if ranks is not None and index is not None:
            wanted[mode.name] = of_group(mode, index, ranks, defaults)
    return wanted


def of_world(plan: Plan, defaults: Defaults) -> Iterator[Request]:
    """The process groups of all ranks in the order of the plan, those that are shared more than once."""
    for mode in plan.planned:
        for index, ranks in enumerate(mode.groups):
            yield from of_group(mode, index, ranks, defaults)


def distinct(plan: Plan, defaults: Defaults) -> dict[str, int]:
    """How many process groups are made for each mode, over all ranks; what is shared counts once."""
    made, known = dict.fromkeys(plan.modes, 0), {world_request(plan, defaults)}
    for request in of_world(plan, defaults):
        made[request.mode] += request not in known
        known.add(request)
    return made


def to_gloo(backend: str) -> bool:
    """Whether process groups of a backend take CPU tensors to gloo.

    >>> to_gloo("gloo"), to_gloo("cpu:gloo,cuda:nccl"), to_gloo("nccl")
    (True, True, False)
    """
    return backend == "gloo" or "cpu:gloo" in backend.split(",")
