"""The verdict of a roll call: who holds up the run, and what has changed since the one before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.diagnosis.api import report
from pgregistry.diagnosis.groups import Groups
from pgregistry.diagnosis.records.event import Malformed
from pgregistry.diagnosis.records.record import Record, read_record
from pgregistry.diagnosis.verdict import ABSENT, Verdict, judge
from pgregistry.diagnosis.waits import Job
from pgregistry.errors import clean, format_ranks
from pgregistry.planning.plans.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The judgement of all ranks after a roll call.

    Attributes:
        text: What each rank logs; empty if there is nothing new.
        guilty: The kind of each guilty rank.
        stuck: True if a rank has waited for too long, whether or not somebody is guilty.
    """

    text: str = ""
    guilty: Mapping[int, str] = field(default_factory=dict)
    stuck: bool = False

    def to_data(self) -> list[Any]:
        """Return it as data for the store."""
        return [self.text, [*self.guilty.items()], self.stuck]

    @staticmethod
    def from_data(data: Any) -> Judgement:
        """Return the judgement that `to_data` made data of; raise ValueError or TypeError if it is not such data."""
        text, guilty, stuck = data
        return Judgement(
            text=clean(str(text), 200_000),
            guilty={int(rank): str(kind) for rank, kind in guilty},
            stuck=bool(stuck),
        )


def pass_judgement(
    answers: Mapping[int, Any],
    plan: Plan,
    patience: float,
    before: Judgement,
    *,
    left: Mapping[int, Any] = MappingProxyType({}),
    hosts: Mapping[int, str] = MappingProxyType({}),
) -> Judgement:
    """Return the judgement on answers to a roll call, the tables of each rank that answered.

    >>> import pgregistry
    >>> waits = {"process_group": ["0", "default_pg"], "profiling_name": "gloo:barrier", "collective_seq_id": 1,
    ...          "pending_seconds": 20.0}
    >>> plan = pgregistry.plan(3, only=["global"])
    >>> found = pass_judgement({0: {"entries": [waits]}, 1: {"entries": []}}, plan, 20, Judgement())
    >>> print(found.text)
    Ranks have waited for 20 s.
    Rank 1 holds up the run (process): it waits for nobody, and 1 rank waits for it.
      in      barrier #1 of global, group 0 (ranks 0-2): rank 0 waits
      now     in nothing that torch records: its own code, or a call that leaves no record
      waiting rank 0
    Rank 2 holds up the run (absent): it does not answer, and 1 rank waits for it. Its process is stopped or gone, ...
      in      barrier #1 of global, group 0 (ranks 0-2): rank 0 waits
      waiting rank 0
    No answer: rank 2.
    >>> print(pass_judgement({one: {"entries": []} for one in range(3)}, plan, 20, found).text)
    Taken back: ranks 1-2 hold up the run no longer, which goes on.

    Args:
        answers: The answers.
        plan: The plan of the context.
        patience: The seconds after which a wait is too long.
        before: The judgement before this one.
        left: The error of each rank that left its context with one, and whether that followed from another rank's end.
        hosts: The names of the hosts of ranks that did not answer, as far as they are known.
    """
    records, problems = dict[int, Record](), list[str]()
    for rank, tables in sorted(answers.items()):
        try:
            records[rank] = read_record(tables, rank)
        except Malformed as error:
            problems.append(f"The answer of rank {rank} is left out: {error}.")
    job = Job(records, Groups(records, plan))
    verdict = judge(job, patience)
    for rank, (text, followed) in left.items():
        if followed and len(verdict.guilty) > 1 and verdict.guilty.get(rank, ("",))[0] == ABSENT:
            del verdict.guilty[rank]
        problems.append(f"Rank {rank} left with {text}")
    guilty = {rank: kind for rank, (kind, _) in verdict.guilty.items()}
    said = partial(report, job, verdict, plan, (), hosts=hosts, asked=True)
    text = _text(job, verdict, said, problems, before)
    return Judgement(text=text, guilty=guilty, stuck=bool(verdict.too_long))


def _text(job: Job, verdict: Verdict, said: Callable[[], object], problems: list[str], before: Judgement) -> str:
    lines = []
    if back := before.guilty.keys() - verdict.guilty.keys():
        who, goes = format_ranks(back), "" if verdict.too_long else ", which goes on"
        lines.append(f"Taken back: {who} {'hold' if len(back) > 1 else 'holds'} up the run no longer{goes}.")
    elif before.stuck and not verdict.too_long:
        lines.append("Taken back: the run goes on.")
    new = verdict.guilty.keys() - before.guilty.keys()
    if new or (verdict.too_long and not before.stuck):
        waits = (event.waited for rank in verdict.too_long for _, event in job.pending(rank))
        lines.append(f"Ranks have waited for {max(waits):.0f} s.")
        lines += [str(said()), *problems]
    return "\n".join(lines)


def report_alone(answer: Any, scope: ScopedStore, plan: Plan, seconds: float) -> str:
    """Return what a rank can say alone if the store does not answer.

    Args:
        answer: Its own answer.
        scope: The store.
        plan: The plan of the context.
        seconds: How long it has waited.
    """
    record = read_record(answer, scope.rank)
    job = Job({scope.rank: record}, Groups({scope.rank: record}, plan))
    places = [f" in {event.called()} of {place.group}" for place, event in job.pending(scope.rank)]
    where = f"hosts at {scope.address}" if scope.address else "hosts"
    gone = "that process is stopped or gone, or its host is cut off."
    store = f"The store does not answer, which {scope.host} {where}: {gone}"
    wait = f"Rank {scope.rank} (host {record.host}) has waited for {seconds:.0f} s{''.join(places[:1])}."
    rest = "Who holds it up, if not that process, is not known."
    return "\n".join([store, f"{wait} {rest}", *(f"  {line}" for line in record.stack)])
