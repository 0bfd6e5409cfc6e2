"""Which group a process group of a record is: its mode, its place among the mode's groups, its members."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pgregistry.diagnosis.records.record import GroupName, Record
from pgregistry.errors import format_ranks
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.planning.references import label
from pgregistry.vocabulary import WORLD


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One process group, one object for all members.

    Attributes:
        name: Its name in torch.
        mode: The name of its mode, else what torch has as description, else its name.
        ranks: Its members, in their order.
        index: Its place among the groups of its mode; None if that is not known.
        certain: True if the members are known, and not only those that have used it.
    """

    name: str
    mode: str
    ranks: tuple[int, ...]
    index: int | None = None
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.mode} ({format_ranks(self.ranks)})"


class Groups:
    """The process groups of a job: members come from the plan, else from the records, else from who has used a name.

    Args:
        records: The records by rank.
        plan: The plan of the job, if it is known.
        unread: Ranks whose record could not be read.
    """

    def __init__(self, records: Mapping[int, Record], plan: Plan | None, unread: Iterable[int] = ()) -> None:
        self._plan, self._records, self._unread = plan, records, unread
        self._found: dict[tuple[int, GroupName], Group] = {}
        self._one: dict[tuple[str, str, tuple[int, ...]], Group] = {}

    @cached_property
    def ranks(self) -> frozenset[int]:
        """Return the ranks that the job has, as far as plan and records name them."""
        found = {*self._records, *self._unread}
        if self._plan is not None:
            found.update(self._plan.ranks or range(self._plan.world_size))
        named = (ranks for record in self._records.values() for ranks in record.members.values())
        return frozenset(found.union(*named))

    @cached_property
    def _world(self) -> tuple[int, ...]:
        return tuple(range(max(self.ranks) + 1))

    @cached_property
    def _users(self) -> dict[GroupName, tuple[int, ...]]:
        users = defaultdict(set)
        for rank, record in self._records.items():
            for one in record.events:
                users[one.group].add(rank)
        return {name: tuple(sorted(ranks)) for name, ranks in users.items()}

    def of(self, rank: int, name: GroupName) -> Group:
        """Return the group that a rank means by the name and the description of a process group."""
        if (rank, name) not in self._found:
            group = self._find(rank, name)
            self._found[rank, name] = self._one.setdefault((group.name, group.mode, group.ranks), group)
        return self._found[rank, name]

    def _find(self, rank: int, name: GroupName) -> Group:
        ours = re.fullmatch(r"pgregistry:(.+?)(?:/(\d+))?", name[1])
        ranks = self._records[rank].members.get(name, ())
        if not ranks and name[1] == "default_pg":
            ranks = self._world
        mode = self._mode(rank, ours[1] if ours else name[1], ranks)
        if mode is not None and (planned := mode.group_of(rank)) is not None:
            return Group(name[0], mode.name, ranks or planned, mode.groups.index_of(rank))
        called = (ours[1] if ours else "" if name[1] == "undefined" else name[1]) or name[0]
        index = int(ours[2]) if ours and ours[2] else None
        return Group(name[0], called, ranks or self._users.get(name, (rank,)), index, certain=bool(ranks))

    def _mode(self, rank: int, called: str, ranks: tuple[int, ...]) -> PlannedMode | None:
        """Return the mode of the plan that a process group is of, by its description, else by its members."""
        if self._plan is None:
            return None
        # Ranks that Megatron-Core calls TENSOR_MODEL_PARALLEL_GROUP are a mode of that name, or with a prefix.
        named = sorted((one for one in self._plan if one == called or one.endswith(f"_{called}")), key=len)
        modes = [self._plan[one] for one in named[:1] or self._plan]
        found = [one for one in modes if (one.group_of(rank) == ranks if ranks else named)]
        # of modes with the same ranks the one over all of them has the default process group
        return min(found, key=lambda one: called == "default_pg" and one.over != (label(WORLD),), default=None)


def contradictions(records: Mapping[int, Record], plan: Plan) -> list[str]:
    """Return a sentence for each way in which records are not of a run of this plan.

    >>> import pgregistry
    >>> contradictions({9: Record(rank=9)}, pgregistry.plan(8))
    ['It is for 8 ranks, but there is a record of rank 9.']
    """
    found = []
    if plan.ranks is None and (above := [rank for rank in records if rank >= plan.world_size]):
        found.append(f"It is for {plan.world_size} ranks, but there is a record of {format_ranks(above)}.")
    for rank, record in sorted(records.items()):
        names = dict.fromkeys([*record.members, *(one.group for one in record.events)])
        for name in names:
            ours, ranks = re.fullmatch(r"pgregistry:(.+?)(?:/(\d+))?", name[1]), record.members.get(name)
            if ours is None:
                if name[1] == "default_pg" and ranks and plan.ranks is None and len(ranks) != plan.world_size:
                    found.append(f"It is for {plan.world_size} ranks, but the default process group has {len(ranks)}.")
            elif ours[1] not in plan:
                found.append(f"It has no mode {ours[1]!r}, of which rank {rank} has a process group.")
            else:
                mode = plan[ours[1]]
                group, index = mode.group_of(rank), mode.groups.index_of(rank)
                if group is None or (ranks and group != ranks) or (ours[2] and int(ours[2]) != index):
                    here = f"group {ours[2]}" if ours[2] and not ranks else f"the group {ranks}"
                    found.append(f"Rank {rank} is in {here} of mode {ours[1]!r}, but in the plan in {group}.")
        if found:
            break
    return found[:3]
