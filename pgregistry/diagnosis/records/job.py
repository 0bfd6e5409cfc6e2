"""One record for each rank of one job, out of all that were found."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from pgregistry.diagnosis.records.record import Found, Record
from pgregistry.errors import format_ranks

#: Nanoseconds after which a record that ends before all others begin is of an earlier attempt, if no timeout is longer.
EARLIER: Final = 600 * 10**9

#: The description and the ranks of a process group, and how many records have each, by its name.
Fact: TypeAlias = tuple[str, tuple[int, ...]]
Facts: TypeAlias = defaultdict[str, Counter[Fact]]


def one_job(found: Found) -> dict[int, Record]:
    """Return a record for each rank, and note what is left out; of several jobs, those of the one with most ranks.

    >>> small, large = ({("0", "default_pg"): tuple(range(size))} for size in (2, 4))
    >>> found = Found([*(Record(rank=rank, members=large) for rank in range(4)), Record(rank=1, members=small)])
    >>> sorted(one_job(found)), found.problems
    ([0, 1, 2, 3], ["The record of rank 1 is of another job, and left out: its process group '0' differs."])
    """
    jobs = _jobs(found.records)
    jobs.sort(key=lambda job: (len({one.rank for one in job[1]}), max(one.last for one in job[1])), reverse=True)
    for _, records in jobs[1:]:
        name = next(filter(None, (_conflict(jobs[0][0], one) for one in records)), "")
        left = f"The record{'s' * (len(records) > 1)} of {format_ranks({one.rank for one in records})}"
        be = "are" if len(records) > 1 else "is"
        found.problems.append(
            f"{left} {be} of another job, and left out{f': its process group {name!r} differs' if name else ''}."
        )
    by_rank: dict[int, Record] = {}
    several = set()
    for record in jobs[0][1] if jobs else ():
        other = by_rank.get(record.rank)
        by_rank[record.rank] = joined = record if other is None else _joined(other, record)
        if other is not None and (joined is other or joined is record) and other.events != record.events:
            several.add(record.rank)
    if several:
        have = "have" if len(several) > 1 else "has"
        found.problems.append(
            f"{format_ranks(several).capitalize()} {have} several records, of which the latest counts. Remove the "
            "others, above all if they are of another job."
        )
    for record in _earlier([*by_rank.values()]):
        del by_rank[record.rank]
        found.unread.add(record.rank)
        found.problems.append(f"The record of rank {record.rank} is left out: it ends before all the others begin.")
    return _of_last_lives(by_rank)


def _jobs(records: Sequence[Record]) -> list[tuple[Facts, list[Record]]]:
    """Return the jobs that records are of, each with its facts: a record is of the job that it has most in common with.

    The first records may be put to a job that they only do not contradict, so all are looked at twice.
    """
    jobs: list[tuple[Facts, list[Record]]] = []
    for record in records:
        job = _best(jobs, record)
        if job is None:
            job = (defaultdict(Counter), [])
            jobs.append(job)
        _put(job, record)
    for job in jobs if len(jobs) > 1 else ():
        for record in tuple(job[1]):
            job[1].remove(record)
            for name, known in _facts(record):
                job[0][name][known] -= 1
                job[0][name] += Counter()  # without those of which none is left
            _put(_best(jobs, record) or job, record)
    return [job for job in jobs if job[1]]


def _best(jobs: Sequence[tuple[Facts, list[Record]]], record: Record) -> tuple[Facts, list[Record]] | None:
    """Return the job that a record has most in common with; None if it contradicts all."""

    def common(job: tuple[Facts, list[Record]]) -> tuple[int, int]:
        return sum(job[0][name][known] for name, known in _facts(record) if name in job[0]), len(job[1])

    return max((job for job in jobs if _conflict(job[0], record) is None), key=common, default=None)


def _put(job: tuple[Facts, list[Record]], record: Record) -> None:
    job[1].append(record)
    for name, known in _facts(record):
        job[0][name][known] += 1


def _of_last_lives(records: dict[int, Record]) -> dict[int, Record]:
    """Return records without the operations of process groups that are gone, whose names newer ones have.

    After `close()` and another `init` of the same plan names are the same. A rank that has not used the new process
    group has only operations of the old one.
    """
    most: dict[tuple[str, str], int] = {}
    for record in records.values():
        most |= {name: max(count, most.get(name, 0)) for name, count in record.lives.items()}
    found = {}
    for rank, record in records.items():
        old = {name for name, count in record.lives.items() if count < most[name]} if record.from_first else set()
        events = tuple(event for event in record.events if (event.group[0], event.backend) not in old)
        numbers = {name: one for name, one in record.numbers.items() if name[0] not in dict(old)}
        found[rank] = replace(record, events=events, numbers=numbers) if old else record
    return found


def _facts(record: Record) -> list[tuple[str, Fact]]:
    """Return what a record has of its process groups, without the index of a group in its description."""
    names = {**dict.fromkeys((one.group for one in record.events), ()), **record.members}
    return [(name, (re.sub(r"/\d+$", "", description), ranks)) for (name, description), ranks in names.items()]


def _conflict(facts: Facts, record: Record) -> str | None:
    """Return the name of a process group that others have with other ranks, or another description."""
    for name, (description, ranks) in _facts(record):
        for other, members in facts.get(name, ()):
            apart = ranks and members and set(ranks).isdisjoint(members)
            if not apart and (description != other or (ranks and members and ranks != members)):
                return name
    return None


def _joined(one: Record, other: Record) -> Record:
    """Return one record of two of a rank: both if each is of another backend, as before torch 2.15, else the later."""
    backends = [Counter(event.backend for event in each.events) for each in (one, other)]
    later = max(one, other, key=lambda each: (each.last, len(each.events)))
    if not all(backends) or backends[0].keys() & backends[1].keys():
        return later
    events = sorted((*one.events, *other.events), key=lambda event: event.created)
    return replace(
        later,
        events=tuple(replace(event, place=place) for place, event in enumerate(events)),
        whole=one.whole and other.whole,
        members={**one.members, **other.members},
        counters={},
        numbers={},
        notes=(*one.notes, *other.notes),
    )


def _earlier(records: Sequence[Record]) -> list[Record]:
    """Return the records of an earlier attempt: what they end with is long before the others begin."""
    dated = [one for one in records if one.events and one.first]
    timeout = max((event.timeout for one in dated for event in one.events), default=0)
    gap = max(EARLIER, int(timeout * 10**9))
    begins = sorted(one.first for one in dated)
    if len(begins) < 3:
        return []
    return [one for one in dated if one.last + gap < begins[len(begins) // 2]]
