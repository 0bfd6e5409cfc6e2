"""A job with faults, simulated: hosts that run ahead of devices, and the flight records that torch would write.

It knows nothing of the diagnosis: a collective ends on a device when the devices of all members are in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pgregistry


@dataclass(frozen=True)
class Step:
    """One operation of one rank: a collective of a mode, or a send or recv within a group of it."""

    mode: str
    name: str = "all_reduce"
    peer: int | None = None


@dataclass
class SimulatedJob:
    """Ranks that run one program until nothing moves any more.

    Args:
        plan: Whose groups they have.
        program: The steps of each rank.
        ahead: How many operations a host may enqueue before it waits for its device: 1 is gloo.
        process, device: The step before which a host stops, and in which a device never ends, by rank.
    """

    plan: pgregistry.Plan
    program: Mapping[int, Sequence[Step]]
    ahead: int = 1
    process: Mapping[int, int] = field(default_factory=dict)
    device: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {rank: self._keys(rank, steps) for rank, steps in self.program.items()}
        self.enqueued, self.finished = dict.fromkeys(self.program, 0), dict.fromkeys(self.program, 0)
        while self._move():
            pass

    def group(self, rank: int, mode: str) -> tuple[int, ...]:
        """The group of a rank."""
        found = self.plan[mode].group_of(rank)
        assert found is not None
        return found

    def _keys(self, rank: int, steps: Sequence[Step]) -> list[tuple[object, ...]]:
        """Return what is equal on all members for each step: the group, and how many came before."""
        count: defaultdict[object, int] = defaultdict(int)
        keys = []
        for step in steps:
            ends = () if step.peer is None else (rank, step.peer) if step.name == "send" else (step.peer, rank)
            lane = (step.mode, self.group(rank, step.mode), ends)
            count[lane] += 1
            keys.append((*lane, count[lane]))
        return keys

    def _needed(self, key: tuple[Any, ...]) -> tuple[int, ...]:
        return key[2] or key[1]

    def _move(self) -> bool:
        moved = False
        for rank, steps in self.program.items():
            stop = min(self.process.get(rank, len(steps)), len(steps))
            while self.enqueued[rank] < stop and self.enqueued[rank] - self.finished[rank] < self.ahead:
                self.enqueued[rank] += 1
                moved = True
            while self._ends(rank):
                self.finished[rank] += 1
                moved = True
        return moved

    def _ends(self, rank: int) -> bool:
        at = self.finished[rank]
        if at >= self.enqueued[rank] or self.device.get(rank) == at:
            return False
        key, name = self.keys[rank][at], self.program[rank][at].name
        for one in self._needed(key):
            if key not in self.keys[one]:
                return False
            there = self.keys[one].index(key)
            pair = {name, self.program[one][there].name}
            if self.finished[one] < there or self.enqueued[one] <= there or (not key[2] and len(pair) > 1):
                return False
        return True

    def waited_for(self, rank: int) -> bool:
        """True if another rank is in an operation that this one has not entered."""
        entered = set(self.keys[rank][: self.enqueued[rank]])
        return any(
            rank in self._needed(key) and key not in entered
            for one in self.program
            for key in self.keys[one][self.finished[one] : self.enqueued[one]]
        )

    def records(
        self, *, backend: str = "nccl", active: bool = False, members: bool = True
    ) -> dict[int, dict[str, Any]]:
        """The record of each rank; `active` leaves finished operations out, `members` says what NCCL says."""
        return {rank: self._record(rank, backend, active, members) for rank in self.program}

    def _record(self, rank: int, backend: str, active: bool, members: bool) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        collective: defaultdict[str, int] = defaultdict(int)
        sends: defaultdict[str, int] = defaultdict(int)
        config, status = {}, dict[str, dict[str, str]]()
        for mode in self.plan:
            ranks, index = self.group(rank, mode), self.plan[mode].groups.index_of(rank)
            config[f"{mode}/{index}"] = {"desc": f"pgregistry:{mode}/{index}", "ranks": str(list(ranks))}
        for at, step in enumerate(self.program[rank][: self.enqueued[rank]]):
            counts = collective if step.peer is None else sends
            counts[step.mode] += 1
            ranks, index = self.group(rank, step.mode), self.plan[step.mode].groups.index_of(rank)
            arrow = {"send": "->", "recv": "<-"}.get(step.name, "")
            ends = f" {ranks.index(rank)}{arrow}{ranks.index(step.peer)}" if step.peer is not None else ""
            done = at < self.finished[rank]
            last = str(sends[step.mode] if step.peer is not None else collective[step.mode])
            one = status.setdefault(str(list(self.plan).index(step.mode)), {"last_completed_collective": "-1"})
            one |= {"last_enqueued_collective": last, **({"last_completed_collective": last} if done else {})}
            if active and done:
                continue
            entries.append(
                {
                    "record_id": at,
                    "pg_id": list(self.plan).index(step.mode),
                    "process_group": (f"{step.mode}/{index}", f"pgregistry:{step.mode}/{index}"),
                    "collective_seq_id": collective[step.mode],
                    "p2p_seq_id": sends[step.mode],
                    "op_id": at,
                    "profiling_name": f"{backend}:{step.name}{ends}",
                    "time_created_ns": 10**18 + at * 10**6,
                    "input_sizes": [[4]],
                    "output_sizes": [[4]],
                    "input_dtypes": ["Float"],
                    "output_dtypes": ["Float"],
                    "state": "completed" if done and backend == "nccl" else "scheduled",
                    "retired": done,
                    "timeout_ms": 600_000,
                    "is_p2p": step.peer is not None,
                }
            )
        counters = status if active else {}
        return {"version": "2.10", "pg_config": config if members else {}, "pg_status": counters, "entries": entries}


def training(plan: pgregistry.Plan, steps: int, *, sends: bool) -> dict[int, list[Step]]:
    """The program of each rank: tensor, pipeline, data and global operations, some steps long."""
    program: dict[int, list[Step]] = {}
    for rank in range(plan.world_size):
        pipe = plan["pipe"].group_of(rank) or ()
        at, mine = pipe.index(rank), []
        for _ in range(steps):
            mine.append(Step("tensor"))
            if sends and at > 0:
                mine.append(Step("pipe", "recv", pipe[at - 1]))
            mine.append(Step("tensor", "all_gather"))
            if sends and at < len(pipe) - 1:
                mine.append(Step("pipe", "send", pipe[at + 1]))
            if not sends:
                mine.append(Step("pipe", "broadcast"))
            mine += [Step("data"), Step("global", "barrier")]
        program[rank] = mine
    return program
