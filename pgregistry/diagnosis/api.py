"""`pgregistry.diagnose`: from records to the diagnosis."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pgregistry.diagnosis.groups import Groups, contradictions
from pgregistry.diagnosis.records.event import Malformed
from pgregistry.diagnosis.records.folder import read_folder
from pgregistry.diagnosis.records.job import one_job
from pgregistry.diagnosis.records.record import MOST_RANKS, Found, Record, read_record
from pgregistry.diagnosis.report import Diagnosis, Guilty, Wait, ranks_of, time_of
from pgregistry.diagnosis.verdict import ABSENT, DEADLOCK, DEVICE, MISMATCH, Verdict, judge
from pgregistry.diagnosis.waits import Job, Place
from pgregistry.errors import ConfigError, format_ranks
from pgregistry.planning.plans.plan import Plan
from pgregistry.values import shown


def diagnose(records: str | os.PathLike[str] | Mapping[int, object], plan: Plan | None = None) -> Diagnosis:
    """Return which rank holds up a run that is stuck.

    >>> import pgregistry
    >>> def waits_in(name):
    ...     group = [f"job/groups/{name}", f"pgregistry:{name}"]
    ...     return {"entries": [{"process_group": group, "profiling_name": "gloo:barrier", "collective_seq_id": 1}]}
    >>> records = {0: waits_in("tensor/0"), 1: {"entries": []}, 2: waits_in("data/0"), 3: waits_in("tensor/1")}
    >>> diagnosis = pgregistry.diagnose(records, pgregistry.plan(4, tensor=2))
    >>> [(one.rank, one.kind, one.waiting, one.behind) for one in diagnosis.guilty]
    [(1, 'process', (0,), (2, 3))]

    Args:
        records: A folder with the files that torch dumps, or the record of each rank: bytes of a pickle or of JSON,
            JSON text, or the tables in them.
        plan: The plan of the run, which knows groups of gloo that the records lack, and ranks without a record.

    Raises:
        ConfigError: if there is no record that can be read.
    """
    if plan is not None and not isinstance(plan, Plan):
        raise ConfigError(f"plan = {shown(plan)} must be a Plan, such as Plan.from_json(text) returns.")
    if isinstance(records, str | os.PathLike):
        found = read_folder(records)
    elif isinstance(records, Mapping):
        found = _given(records)
    else:
        raise ConfigError(f"records = {shown(records)} must be a folder, or a mapping from rank to record.")
    by_rank, problems = one_job(found), found.problems
    for rank, record in sorted(by_rank.items()):
        problems += [f"The record of rank {rank} {note}." for note in record.notes]
    if plan is not None and (differences := contradictions(by_rank, plan)):
        problems.append(f"The plan is of another run, and left out. {' '.join(differences)}")
        plan = None
    job = Job(by_rank, Groups(by_rank, plan, found.unread))
    return report(job, judge(job), plan, problems)


def _given(records: Mapping[int, object]) -> Found:
    found = Found()
    for rank, data in records.items():
        if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank < MOST_RANKS:
            raise ConfigError(f"records has the key {shown(rank)}; it must be a rank, a whole number from 0 on.")
        try:
            found.records.append(read_record(data, rank))
        except Malformed as error:
            found.problems.append(f"The record of rank {rank} is left out: {error}.")
            found.unread.add(rank)
    if not found.records:
        raise ConfigError("\n".join(["records must hold a flight record that can be read.", *found.problems]))
    return found


def report(
    job: Job,
    verdict: Verdict,
    plan: Plan | None,
    problems: Iterable[str],
    *,
    hosts: Mapping[int, str] = MappingProxyType({}),
    asked: bool = False,
) -> Diagnosis:
    """Return a verdict as a diagnosis.

    Args:
        job: The records.
        verdict: What `judge` returns of them.
        plan: The plan of the run, if it is known.
        problems: What is wrong with the records, a sentence each.
        hosts: The names of the hosts of ranks without a record, as far as they are known.
        asked: Whether they are answers to a roll call.
    """
    held: dict[Place, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    for rank, waits in verdict.waits.items():
        for other, place in waits.items():
            held[place][0].add(rank)
            held[place][1].add(other)
    for place, ranks in verdict.stalled.items():
        held[place][0].update(ranks)
    waiting = {place: _wait(job, place, ranks, others) for place, (ranks, others) in held.items()}
    guilty = []
    for rank, (kind, place) in sorted(verdict.guilty.items()):
        wait, near = waiting.get(place) or _wait(job, place, [rank], ()), verdict.waiting_for(rank)
        record = job.records.get(rank)
        guilty.append(
            Guilty(
                rank=rank,
                kind=kind,
                wait=wait,
                evidence=_evidence(job, verdict, rank, kind, place, len(near), asked=asked),
                waiting=ranks_of(near),
                behind=ranks_of(verdict.behind(rank)),
                host=hosts.get(rank) or _host(rank, record, plan),
                last=_last(job, rank, place),
                now=_now(job, rank),
            )
        )
    order = sorted(waiting.values(), key=lambda one: (-len(one.ranks), one.mode, one.group, one.sequence))
    return Diagnosis(
        guilty=tuple(guilty),
        waiting=tuple(order),
        missing_records=ranks_of(job.groups.ranks.difference(job.records)),
        problems=tuple(problems),
        records=len(job.records),
        asked=asked,
    )


def _wait(job: Job, place: Place, ranks: Iterable[int], held_by: Iterable[int]) -> Wait:
    events = [job.events[one, place] for one in ranks if (one, place) in job.events]
    event = events[0] if events else None
    return Wait(
        mode=place.group.mode,
        group=place.group.ranks,
        index=place.group.index,
        collective=event.operation if event else "operation",
        sequence=event.sequence if event else place.sequence,
        ranks=ranks_of(ranks),
        held_by=ranks_of(held_by),
        since=time_of(min((one.created for one in events if one.created), default=0)),
    )


def _evidence(job: Job, verdict: Verdict, rank: int, kind: str, place: Place, near: int, *, asked: bool) -> str:
    wait_for_it = f"{near} rank{'s' * (near != 1)} wait{'s' * (near == 1)} for it"
    event = job.events.get((rank, place))
    if kind == ABSENT:
        if asked:
            wait_for_it += ". Its process is stopped or gone, or holds Python's lock, or its host is cut off"
        return f"it {'does not answer' if asked else 'left no record'}, and {wait_for_it}"
    if kind == DEVICE:
        done = job.standing(place).done - {rank}
        if place.ends and event and not done:
            peer = format_ranks(one for one in place.ends if one != rank)
            return (
                f"its {event.operation} does not end, and {peer}, which may have finished, waits for it in something "
                "else; its device or its link is stuck"
            )
        what = f"{format_ranks(done)} finished" if done else "the other ranks began" if event else "others finished"
        return f"it is in an operation that {what}; its device or its link is stuck"
    if kind == MISMATCH and event is not None:
        others = [job.events[one, place] for one in place.ends or place.group.ranks if (one, place) in job.events]
        other = next((one for one in others if one.signature() != event.signature()), event)
        same = other.operation == event.operation and not place.ends
        mine, theirs = (f"{one.operation} of {_elements(one.inputs)}" for one in (event, other))
        return f"it has {mine} where {'others have' if same or not place.ends else 'its peer has'} {theirs}"
    if kind == DEADLOCK:
        held, near_it = ranks_of(verdict.waits[rank]), verdict.waiting_for(rank)
        how = "in turn" if set(held) <= {*near_it} else "in turn, through others"
        return f"it waits for {format_ranks(held)}, which wait{'s' * (len(held) == 1)} for it {how}"
    return f"it waits for nobody, and {wait_for_it}"


def _elements(sizes: tuple[int, ...]) -> str:
    return f"{' + '.join(map(str, sizes[:4]))}{' + …' * (len(sizes) > 4)} elements" if sizes else "no tensor"


def _host(rank: int, record: Record | None, plan: Plan | None) -> str:
    if record is not None and record.host:
        return record.host
    hosts = getattr(plan, "hosts", None) or ()
    number, ranks = next(((number, one) for number, one in enumerate(hosts) if rank in one), (0, ()))
    return f"{number} ({format_ranks(ranks)})" if ranks else ""


def _last(job: Job, rank: int, place: Place) -> str | None:
    record = job.records.get(rank)
    event = next((one for one in reversed(record.events if record else ()) if one.finished), None)
    if event is not None:
        return f"finished {event.called()} of {job.places[rank, event.place].group}"
    finished = job.finished(rank, place.group)  # of a record of what is pending alone
    return f"finished #{finished} of {place.group}" if finished > 0 else None


def _now(job: Job, rank: int) -> tuple[str, ...]:
    record = job.records.get(rank)
    if record is None:
        return ()
    place = job.first[rank]
    found = list(record.stack)
    if place is not None:
        event = job.events[rank, place]
        found.insert(0, f"in {event.called()} of {place.group}")
        found += [] if record.stack else [f"called by {frame}" for frame in event.frames[:2]]
    return tuple(found) or ("in nothing that torch records: its own code, or a call that leaves no record",)
