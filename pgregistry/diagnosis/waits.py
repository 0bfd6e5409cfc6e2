"""The waits between ranks: an edge from each rank to those that hold up an operation of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pgregistry.diagnosis.groups import Group, Groups
from pgregistry.diagnosis.records.event import Event
from pgregistry.diagnosis.records.record import Record


@dataclass(frozen=True, slots=True)
class Place:
    """One operation of one process group, the same on all members: the third sendrecv, the fifth collective.

    `ends` are the two ranks of a send and its recv, in that order; empty for a collective. Collectives are counted for
    each backend: a process group of "cpu:gloo,cuda:nccl" has two third ones.
    """

    group: Group
    sequence: int
    ends: tuple[int, ...] = ()
    backend: str = ""

    @property
    def step(self) -> Hashable:
        """Return what is equal for the same step of one program on all ranks, whichever group of a mode they are in."""
        return (self.group.mode, self.sequence, self.ends, self.backend)


@dataclass(frozen=True, slots=True)
class Standing:
    """The progress of the ranks that an operation needs.

    Attributes:
        needed: All of them.
        done: Those that have finished it.
        missing: Those that have not entered it.
        absent: Those without a record.
        busy: Those that have entered it and have something older to finish.
        odd: Those that have something else in its place than most.
    """

    needed: frozenset[int]
    done: frozenset[int]
    missing: frozenset[int]
    absent: frozenset[int]
    busy: frozenset[int]
    odd: frozenset[int]


class Job:
    """All records of a job, arranged by process group.

    Args:
        records: The records by rank.
        groups: The process groups of the job.
    """

    def __init__(self, records: Mapping[int, Record], groups: Groups) -> None:
        self.records, self.groups = records, groups
        self.events: dict[tuple[int, Place], Event] = {}
        self.places: dict[tuple[int, int], Place] = {}
        self.entered: dict[tuple[int, Group, str], int] = {}
        self._both: set[str] = set()
        self._backends: defaultdict[str, set[str]] = defaultdict(set)
        self._standings: dict[Place, Standing] = {}
        for rank, record in records.items():
            sent: Counter[object] = Counter()
            for one in record.events:
                if one.point_to_point or one.batch[1] > 0:
                    self._both.add(one.group[0])
                place = self._place(rank, one, sent)
                self.places[rank, one.place] = place
                self.events[rank, place] = one
                if not one.point_to_point:
                    self._backends[one.group[0]].add(one.backend)
                    key = rank, place.group, one.backend
                    self.entered[key] = max(self.entered.get(key, 0), one.sequence)
        self.first = {
            rank: next((self.places[rank, one.place] for one in record.events if not one.finished), None)
            for rank, record in records.items()
        }

    def _place(self, rank: int, event: Event, sent: Counter[object]) -> Place:
        """Return the place of an event; sends and recvs count from the first of a whole record, else from its end."""
        group = self.groups.of(rank, event.group)
        if not event.point_to_point:
            return Place(group, event.sequence, backend=event.backend)
        peer = group.ranks[event.peer] if event.peer is not None and event.peer < len(group.ranks) else -1
        if peer < 0 and len(group.ranks) == 2:
            peer = next(one for one in group.ranks if one != rank)
        ends = (rank, peer) if event.sends else (peer, rank)
        # Without the beginning of a record only those that are pending can be counted.
        whole = all(self.records[one].whole for one in ends if one in self.records)
        key = (group, ends, whole or not event.finished)
        sent[key] += 1
        return Place(group, sent[key] if key[2] else -sent[key], ends)

    def pending(self, rank: int) -> Iterator[tuple[Place, Event]]:
        """Yield the first operation of each process group, and of each peer, that a rank has not finished."""
        seen = set()
        for one in self.records[rank].events:
            place = self.places[rank, one.place]
            if not one.finished and (place.group, place.ends) not in seen:
                seen.add((place.group, place.ends))
                yield place, one

    def together(self, rank: int, place: Place) -> list[Place]:
        """Return the operations that a rank has begun at once: those of a batch of sends and recvs, else this one."""
        one = self.events[rank, place]
        key = (one.group, one.batch)
        return self._batches[rank].get(key, [place]) if one.point_to_point and one.batch[1] > 0 else [place]

    def stands_in(self, rank: int, place: Place) -> bool:
        """Return True if an operation is the first that a rank has not finished, or of one batch with that."""
        first = self.first[rank]
        return place == first or (first is not None and place in self.together(rank, first))

    @cached_property
    def _batches(self) -> dict[int, dict[Hashable, list[Place]]]:
        found: dict[int, dict[Hashable, list[Place]]] = {}
        for rank, record in self.records.items():
            batches = found[rank] = defaultdict(list)
            for one in record.events:
                if one.point_to_point and not one.finished:
                    batches[one.group, one.batch].append(self.places[rank, one.place])
        return found

    def standing(self, place: Place) -> Standing:
        """Return how far the ranks are that an operation needs."""
        if place not in self._standings:
            needed = frozenset(one for one in place.ends or place.group.ranks if one >= 0)
            absent = needed.difference(self.records)
            finished = {one: self._finished(one, place) for one in needed - absent}
            self._standings[place] = Standing(
                needed,
                frozenset(one for one, done in finished.items() if done),
                frozenset(one for one, done in finished.items() if done is None),
                absent,
                frozenset(one for one, done in finished.items() if done is False and not self.stands_in(one, place)),
                frozenset(self._minority(place)),
            )
        return self._standings[place]

    def _finished(self, rank: int, place: Place) -> bool | None:
        """Return whether a rank has finished an operation; None if it has not entered it."""
        event = self.events.get((rank, place))
        if event is not None:
            return event.finished
        if not place.ends and self.entered.get((rank, place.group, place.backend), 0) > place.sequence:
            return True  # it is no longer in the record
        enqueued, finished = (-1, -1) if place.ends else self._counter(rank, place.group)
        return True if place.sequence <= finished else False if place.sequence <= enqueued else None

    def finished(self, rank: int, group: Group) -> int:
        """Return the number of the last collective that a rank has finished in a group by torch's counters, else -1."""
        return self._counter(rank, group)[1] if rank in self.records else -1

    def _counter(self, rank: int, group: Group) -> tuple[int, int]:
        """Return torch's counters of a process group; none if sends and recvs, or a second backend, are counted too."""
        record = self.records[rank]
        if not record.counters or group.name in self._both or len(self._backends[group.name]) > 1:
            return (-1, -1)
        number = next((number for name, number in record.numbers.items() if name[0] == group.name), None)
        if number is None:  # the record has none of its operations, but others know the number
            number = self._numbers.get(group.mode)
        return (-1, -1) if number is None else record.counters.get(number, (-1, -1))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Return torch's number of the process groups of each mode, if it is one on all ranks that know it.

        Ranks number their process groups in the order in which they make them. That is one order if they run one
        program.
        """
        known: defaultdict[str, set[int]] = defaultdict(set)
        for rank, record in self.records.items():
            for name, number in record.numbers.items():
                known[self.groups.of(rank, name).mode].add(number)
        return {mode: next(iter(numbers)) for mode, numbers in known.items() if len(numbers) == 1}

    def may_have_finished(self, rank: int, place: Place) -> bool:
        """Return True if a rank may have finished a send or recv that its record would no longer have."""
        record = self.records.get(rank)
        return record is not None and not record.whole and (rank, place) not in self.events

    def candidates(self, place: Place) -> frozenset[int]:
        """Return the ranks that an operation may need beside those that are known to be needed."""
        if place.ends:
            return frozenset(place.group.ranks if -1 in place.ends else ()).intersection(self.records)
        return frozenset() if place.group.certain else frozenset(self.records) - set(place.group.ranks)

    def _minority(self, place: Place) -> list[int]:
        """Return the ranks that have something else at a place than most, in this group and its sisters.

        If there are as many of each kind, all of them.
        """
        needed = place.ends or place.group.ranks
        mine = {one: self.events[one, place] for one in needed if (one, place) in self.events}
        if place.ends:
            sides = {one.inputs or one.outputs for one in mine.values()}
            return [*mine] if len(sides) > 1 and all(sides) else []
        votes = Counter(event.signature() for event in mine.values())
        if len(votes) < 2:
            return []
        if len(set(votes.values())) == 1:  # the sisters decide
            votes = Counter({kind: self._sisters[place.step, kind] for kind in votes})
        most = max(votes.values())
        usual = [kind for kind, count in votes.items() if count == most]
        return [one for one, event in mine.items() if len(usual) > 1 or event.signature() not in usual]

    @cached_property
    def _sisters(self) -> Counter[tuple[Hashable, tuple[object, ...]]]:
        """Return how many ranks have one signature at one place of all groups of a mode."""
        return Counter((place.step, event.signature()) for (_, place), event in self.events.items() if not place.ends)

    @cached_property
    def orders(self) -> dict[int, dict[Hashable, int]]:
        """Return when each rank entered each step, as numbers: a step is the same for all groups of a mode."""
        return {
            rank: {self.places[rank, one.place].step: one.place for one in reversed(record.events)}
            for rank, record in self.records.items()
        }
