"""The verdict, who holds up the run: the ranks at the ends of the waits."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pgregistry.diagnosis.records.event import DEVICES, Event
from pgregistry.diagnosis.waits import Job, Place

ABSENT: Final = "absent"
PROCESS: Final = "process"
DEVICE: Final = "device"
MISMATCH: Final = "mismatch"
DEADLOCK: Final = "deadlock"

#: Seconds after which a wait counts in a roll call, if the patience is not shorter.
COUNTED: Final = 2.0
#: The part of the patience after which a rank has waited too long: ranks look at their counters now and then.
LATE: Final = 0.8


@dataclass(slots=True)
class Verdict:
    """The guilty ranks with the kind of their guilt, and the waits that show it.

    Attributes:
        guilty: The kind, and the operation that shows it, of each guilty rank.
        waits: The ranks that each rank waits for, each with the operation.
        stalled: Operations that all members are in, and that end on none, although nothing else is pending.
        too_long: The ranks that have waited for longer than the patience.
    """

    guilty: dict[int, tuple[str, Place]] = field(default_factory=dict)
    waits: dict[int, dict[int, Place]] = field(default_factory=lambda: defaultdict(dict))
    stalled: dict[Place, list[int]] = field(default_factory=lambda: defaultdict(list))
    too_long: set[int] = field(default_factory=set)

    def waiting_for(self, rank: int) -> list[int]:
        """Return the ranks that wait for a rank themselves, ascending."""
        return sorted(one for one, held in self.waits.items() if rank in held)

    def first_wait(self, rank: int) -> Place:
        """Return the first operation in which a rank waits for another one."""
        return next(iter(self.waits[rank].values()))

    def behind(self, rank: int) -> list[int]:
        """Return the ranks that wait for those that wait for a rank, ascending."""
        near = {rank, *self.waiting_for(rank)}
        found, new = set(near), near
        while new:
            new = {one for one, held in self.waits.items() if one not in found and not new.isdisjoint(held)}
            found |= new
        return sorted(found - near)


def judge(job: Job, patience: float = 0) -> Verdict:
    """Return who holds up the run of these records.

    A rank is guilty of itself if it has something else than the others in one place, or has not finished what they
    have finished. Else the guilty are found at the ends of the waits: a rank that waits for nobody, or ranks that wait
    for one another.

    Args:
        job: The records.
        patience: The seconds after which a wait is too long, for answers to a roll call: others may go on meanwhile.
            A rank is guilty only if some rank has waited for it that long, directly or behind others.
    """
    verdict = Verdict()
    too_long = set()
    for rank in sorted(job.records):
        for place, event in job.pending(rank):
            if event.waited >= counted(patience):
                _look(job, verdict, rank, place, event, asked=patience > 0)
            if event.waited >= patience * LATE:
                too_long.add(rank)
    for place, ranks in verdict.stalled.items():
        begun = {one for one in ranks if job.events[one, place].started}
        for one in ranks if begun else ():  # a device that has not begun what the others have
            if one not in begun:
                verdict.guilty.setdefault(one, (DEVICE, place))
    edges = {one: () if one in verdict.guilty else held for one, held in verdict.waits.items()}
    held_up = {one for held in verdict.waits.values() for one in held}
    stalled = {one for ranks in verdict.stalled.values() for one in ranks}
    for ring in ends_of(edges):
        if len(ring) > 1 and (devices := _perhaps_finished_by_their_peers(job, ring, verdict)):
            verdict.guilty |= {one: (DEVICE, verdict.first_wait(one)) for one in devices}
        elif len(ring) > 1:
            for one in _out_of_order(job, ring, verdict) or ring:
                verdict.guilty[one] = (DEADLOCK, verdict.first_wait(one))
        elif ring[0] in held_up - stalled - set(verdict.guilty):
            places = Counter(held[ring[0]] for held in verdict.waits.values() if ring[0] in held)
            kind = PROCESS if ring[0] in job.records else ABSENT
            verdict.guilty[ring[0]] = (kind, places.most_common(1)[0][0])
    held = reached(too_long, verdict.waits)
    verdict.guilty = {one: why for one, why in verdict.guilty.items() if one in held}
    verdict.too_long = too_long
    return verdict


def counted(patience: float) -> float:
    """Return the seconds after which a wait counts in a roll call; a shorter one may end while ranks answer."""
    return min(COUNTED, patience / 2)


def reached(ranks: Iterable[int], waits: Mapping[int, Iterable[int]]) -> set[int]:
    """Return ranks, those that they wait for, those that these wait for, and so on.

    >>> sorted(reached([0], {0: [1], 1: [2], 3: [4]}))
    [0, 1, 2]
    """
    found = set(ranks)
    new = [*found]
    while new:
        new = [other for one in new for other in waits.get(one, ()) if other not in found]
        found.update(new)
    return found


def _look(job: Job, verdict: Verdict, rank: int, place: Place, event: Event, *, asked: bool) -> None:
    """Note whom one operation of one rank waits for, or that its device is stuck in it."""
    standing, wait, first = job.standing(place), verdict.waits[rank], job.stands_in(rank, place)
    others_of_batch = [job.standing(one) for one in job.together(rank, place) if one != place] if first else []
    done, others = standing.done - {rank}, standing.needed - {rank}
    if asked and standing.absent:
        done = frozenset()  # what others have finished may have failed there, as one of them is gone
    blamed: Iterable[int] = ()
    if standing.odd:
        blamed = standing.odd | standing.missing
        for one in standing.odd:
            verdict.guilty.setdefault(one, (MISMATCH, place))
    elif candidates := job.candidates(place):
        blamed = standing.missing or candidates
    elif first and (done == others or (done and event.together)):
        if all(one.done for one in others_of_batch):  # a batch ends when all of it has
            verdict.guilty.setdefault(rank, (DEVICE, place))
    else:
        # without a record it may have entered what is not the first thing that this rank waits in
        blamed = standing.missing | (standing.absent if first and not (done and event.together) else frozenset())
        if first and not standing.missing and not standing.absent:
            blamed = standing.busy  # a device runs what it has one after another
            if not any(one.missing or one.absent or one.busy for one in (standing, *others_of_batch)):
                verdict.stalled[place].append(rank)
    for one in blamed:
        if one != rank:
            wait.setdefault(one, place)


def _out_of_order(job: Job, ring: Iterable[int], verdict: Verdict) -> set[int]:
    """Return the ranks of a ring that entered two operations in another order than most ranks; none if all did.

    Ranks of one program enter the operations of their modes in one order, whichever group of a mode they are in.
    """
    ring, found = set(ring), set()
    for rank in ring:
        mine, order = verdict.first_wait(rank), job.orders[rank]
        for theirs in {verdict.waits[one][rank] for one in ring if rank in verdict.waits[one]} - {mine}:
            later = order.get(theirs.step, sys.maxsize) > order[mine.step]
            if later and _usually_first(job, theirs.step, mine.step):
                found.add(rank)
    return found if found != ring else set()


def _perhaps_finished_by_their_peers(job: Job, ring: Iterable[int], verdict: Verdict) -> list[int]:
    """Return the ranks of a ring whose devices are stuck in a send or recv that its peer may have finished.

    Where a record holds only what is pending, a peer that has finished looks as if it had not come. If it waits for the
    rank in something else, and that is sure, the ring is none, and ends at that rank.
    """
    members, unsure = set(ring), dict[int, list[int]]()
    for rank in members:
        place = verdict.first_wait(rank)
        if job.events[rank, place].backend in DEVICES:
            peers = [one for one in place.ends if one in members - {rank} and job.may_have_finished(one, place)]
            unsure |= {rank: peers} if peers else {}
    sure = {one: () if one in unsure else members.intersection(verdict.waits[one]) for one in members}
    return [rank for rank, peers in unsure.items() if rank in reached(peers, sure)]


def _usually_first(job: Job, step: Hashable, other: Hashable) -> bool:
    """Return True if more ranks entered a step before another one than after it."""
    last = sys.maxsize
    votes = [
        order.get(step, last) < order.get(other, last)
        for order in job.orders.values()
        if step in order or other in order
    ]
    return 2 * sum(votes) > len(votes)


def ends_of(edges: Mapping[int, Iterable[int]]) -> list[list[int]]:
    """Return the ranks at the ends of waits: alone, or together if they wait for one another.

    >>> ends_of({0: [1], 2: [1, 3], 3: [4], 4: [3]})
    [[1], [3, 4]]
    """
    ring_of = rings(edges)
    leave = {ring_of[one] for one, held in edges.items() for other in held if ring_of[one] != ring_of[other]}
    members = defaultdict(list)
    for one in sorted(ring_of):
        members[ring_of[one]].append(one)
    return [ranks for number, ranks in sorted(members.items(), key=lambda item: item[1]) if number not in leave]


def rings(edges: Mapping[int, Iterable[int]]) -> dict[int, int]:
    """Return the number of the ring of each rank: ranks that wait for one another have one number (Tarjan)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    ring: dict[int, int] = {}
    stack: list[int] = []
    for root in sorted(edges):
        work = [(root, iter(sorted(edges[root])))] if root not in index else []
        while work:
            one, held = work[-1]
            if one not in index:
                index[one] = low[one] = len(index)
                stack.append(one)
            for other in held:
                if other not in index:
                    work.append((other, iter(sorted(edges.get(other, ())))))
                    break
                if other not in ring:
                    low[one] = min(low[one], low[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[one])
                if low[one] == index[one]:
                    while one not in ring:
                        ring[stack.pop()] = index[one]
    return ring
