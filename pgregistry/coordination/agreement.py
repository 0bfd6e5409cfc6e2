"""One plan on all ranks, or one error on all ranks: compared through the store before anything is built.

Each rank makes five calls. The summary of the first rank becomes the reference. Every rank compares
its own with it, signs the roster, and is counted with the result. The rank that completes the count
decides. If all are the same, all go on. If not, ranks that differ publish their whole proposals, one
rank reads those and writes the text, and every rank raises it.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from pgregistry.coordination.barrier import LEAVE
from pgregistry.coordination.decision import Decision, Reason, Value, did_not_come, smallest_unused
from pgregistry.coordination.places.arrivals import Arrivals
from pgregistry.coordination.places.misplaced import unequal_hosts
from pgregistry.coordination.proposal import Proposal, Summary, different_versions, disagreement, sides_of
from pgregistry.coordination.roster import BITS, Tally
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.coordination.within_conflicts import NOTES, WithinConflicts
from pgregistry.errors import BuildError, PlanMismatch, describe, format_ranks

log = logging.getLogger("pgregistry")

#: Seconds that ranks which differ wait for the others before they decide without them.
GRACE: Final = 5.0
#: Seconds that the rank which composes the text waits for ranks that come just now.
MOMENT: Final = 1.0


class Agreement:
    """The agreement of one rank with the others of its scope.

    Args:
        scope: The scope of this `init`.
        mine: The proposal of this rank.
        seconds: How long the other ranks may take to come.
        arrivals: The ranks that have come, and where they are.

    Attributes:
        settled: Whether all ranks hold the same value, so that nothing is left to publish.
        number: The smallest number that is in use on none of the ranks, when they agree.
    """

    def __init__(self, scope: ScopedStore, mine: Proposal, seconds: float, arrivals: Arrivals | None = None) -> None:
        self._scope = scope
        self._mine = mine
        self._summary = mine.summary(scope.rank)
        self._reference: Summary | None = None
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._decision = Decision(scope, "agreement")
        self._arrivals = arrivals or Arrivals(scope)
        self._differs = False
        self.settled = False
        self.number = 0
        self._at_fault: tuple[int, ...] = ()
        self._conflicts = WithinConflicts(scope)
        self._looks: bool | None = None  # whether this is the rank that looks around; None until it has waited

    def reach(self) -> None:
        """Return when all ranks propose the same.

        A rank whose planning failed returns at once, and is to raise its own error.

        Raises:
            PlanMismatch: on every rank, with one text, if one proposes something else or does not come.
        """
        try:
            value = self._compare()
            if self._mine.error is not None:
                self.settled = True
            elif value == "go" and self._differs:
                raise PlanMismatch(
                    f"Rank {self._scope.rank} differs from the others, but the store holds that all agree: another "
                    "program writes to it.",
                    ranks=[self._scope.rank],
                )
            elif value == "go":
                self.number = self._decision.number
                self._conflicts.forget()
                self._warn_of_versions()
            else:
                raise self._settle(self._reason(value))
        except LostError as error:
            raise self._lost(error) from error

    def watch(self) -> None:
        """Return when the ranks of the scope agree. This rank is not one of them, and they do not wait for it.

        Raises:
            PlanMismatch: what the ranks of the scope raise.
        """
        try:
            self._conflicts.note()
            value = self._decision.wait(self._until, self._look_around) or self._decision.take("missing")
            if value != "go":
                raise self._settle(self._decision.reason(value, self._missing, elect=value == "missing"))
            self._conflicts.forget()
        except LostError as error:
            raise self._lost(error) from error

    def stop(self, error: BaseException) -> Value | None:
        """Publish that this rank stops, for ranks that still compare their plans; return the value that holds."""
        rank = self._scope.rank
        text = f"Rank {rank} stopped while ranks compared their plans: {describe(error)}"
        mine = Reason.of(error) if isinstance(error, PlanMismatch) else Reason(text, (rank,), mismatch=True)
        try:
            return self._decision.fail(mine)
        except (LostError, PlanMismatch) as failure:
            log.debug("the stop of rank %d could not be published: %s", rank, failure)
            return None

    def leave(self, *, hosts: bool) -> None:
        """Leave after an error. The rank that hosts the store leaves last, so that all others read why.

        Args:
            hosts: Whether this rank hosts the store.
        """
        scope = self._scope
        try:
            member = scope.rank in scope.ranks
            tally = self._count(member << 2 * BITS)
            if member:
                scope.set(f"left/{tally.left}", "")
            # If planning failed on this rank, the others may not have come yet.
            early = self._mine.error is not None
            others = len(scope.ranks) if early else tally.came
            self._conflicts.forget()
            until = time.monotonic() + LEAVE + (GRACE if early else 0)
            if hosts and tally.left < others:
                scope.wait_for(f"left/{others}", until)
            if hosts and tally.came < len(scope.ranks):
                self._conflicts.outlive(self._at_fault, until)
        except (LostError, PlanMismatch) as lost:
            log.debug("rank %d leaves a store that is gone: %s", scope.rank, lost)

    def _settle(self, reason: Reason) -> PlanMismatch | BuildError:
        """Return the error of all ranks."""
        self.settled = True
        self._at_fault = reason.ranks
        return reason.error()

    def _lost(self, error: LostError) -> PlanMismatch:
        return PlanMismatch(
            f"Rank {self._scope.rank}: {self._scope.host}, which hosts the store, is gone before all ranks agreed "
            f"({error})."
        )

    def _compare(self) -> Value:
        """Take part with this rank's summary, and return the value that all ranks hold."""
        scope, mine = self._scope, self._mine
        if mine.error is None:
            text = scope.set_if_absent("reference", self._summary.encode())
            self._reference = scope.parse("reference", text, Summary.decode)
        reference = self._reference
        same = reference is not None and reference.digest == mine.digest
        self._differs = not same
        if not same:
            scope.set(_proposal(scope.rank), mine.encode())
        numbers = [mine.in_use, reference.in_use if reference is not None else 0]
        self._arrivals.sign("" if same else mine.digest, 0 if numbers[0] == numbers[1] else mine.in_use)
        alike = same and len(set(map(smallest_unused, numbers))) == 1
        tally = self._count(1 if alike else 1 + (1 << BITS))
        if tally.came >= self._expected():
            return self._decide(tally.differ > 0)
        if mine.error is not None:
            return self._decision.take("differ")  # the others need not wait
        if not same:
            until = min(self._until, time.monotonic() + GRACE)
            return self._decision.wait(until) or self._decision.take("differ")
        self._conflicts.note()
        if value := self._decision.wait(min(self._until, time.monotonic() + MOMENT)):
            return value
        self._look_around(log_missing=False)
        return self._decision.wait(self._until, self._look_around) or self._decision.take("missing")

    def _decide(self, differ: bool) -> Value:
        """Take the decision on the last rank that comes, with a number that no rank uses if all propose the same."""
        in_use = self._reference.in_use if self._reference else 0
        if differ:
            arrivals = self._arrivals.read().values()
            if len(arrivals) < self._expected() or any(one.digest for one in arrivals):
                self._scope.set("all here", "")
                return self._decision.take("differ")
            for one in arrivals:
                in_use |= one.in_use
        problem = self._arrivals.problem()
        return self._decision.fail(problem) if problem else self._decision.take("go", smallest_unused(in_use))

    def _count(self, number: int) -> Tally:
        return self._scope.count("tally", number, partial(Tally.read, ranks=len(self._scope.ranks)))

    def _expected(self) -> int:
        """Return how many ranks can come: if world sizes differ, those that all sides count."""
        known = min(one.world_size for one in (self._reference, self._mine) if one is not None)
        return bisect_left(self._scope.ranks, known)

    def _look_around(self, *, log_missing: bool = True) -> None:
        """Find out, on one of the ranks that wait, which ranks are missing, and whether they wait elsewhere."""
        if self._looks is None:
            self._looks = self._scope.count_ranks("looking") == 1
        if not self._looks or not (missing := self._arrivals.missing()):
            return
        self._scope.check_calls(missing[:NOTES])
        if reason := self._conflicts.find(missing):
            self._decision.fail(reason)
        elif log_missing:
            log.warning(
                "pgregistry: waiting for %s of %d to agree on the plan", format_ranks(missing), len(self._scope.ranks)
            )

    def _reason(self, value: Value) -> Reason:
        if value == "missing":
            return self._decision.reason(value, self._missing)
        if value == "differ" and self._reference is not None and self._reference.rank == self._scope.rank:
            self._scope.set(_proposal(self._scope.rank), self._mine.encode())  # only now it is needed
        return self._decision.reason(value, self._difference)

    def _missing(self) -> Reason:
        return did_not_come(self._scope.ranks, self._arrivals.read(), self._seconds)

    def _difference(self) -> Reason:
        """Return the ranks on each side, and what differs: the only rank that reads what the others proposed."""
        scope = self._scope
        scope.wait_for("all here", time.monotonic() + MOMENT)
        reference = self._reference.digest if self._reference else ""
        signed = self._arrivals.read()
        here = {rank: one.digest or reference for rank, one in signed.items()}
        sides = sides_of(here)
        proposals = {self._mine.digest: self._mine, **self._read(sides)}
        known = min(proposal.world_size for proposal in proposals.values())
        missing = [rank for rank in scope.ranks if rank not in here and rank < known]
        most = next(iter(sides))
        at_fault = [rank for rank, digest in here.items() if digest != most]
        places = {rank: one.place for rank, one in signed.items()}
        text = disagreement(sides, proposals, missing) + unequal_hosts(places)
        return Reason(text, (*at_fault, *missing), mismatch=True)

    def _read(self, sides: Mapping[str, Sequence[int]]) -> dict[str, Proposal]:
        """Return one proposal of each other side: of the rank that was the reference, or of the lowest."""
        reference = self._reference or self._summary
        publishers = {digest: ranks[0] for digest, ranks in sides.items() if digest != self._mine.digest}
        if reference.digest in publishers:
            publishers[reference.digest] = reference.rank
        texts = self._scope.read([_proposal(rank) for rank in publishers.values()], LEAVE) if publishers else []
        if texts is None:
            log.debug("the proposals of %s were not published in time", format_ranks(publishers.values()))
            return {}
        return {
            digest: self._scope.parse(_proposal(rank), text, Proposal.decode)
            for (digest, rank), text in zip(publishers.items(), texts, strict=True)
        }

    def _warn_of_versions(self) -> None:
        for plugin, here, there in different_versions(self._summary, self._reference or self._summary):
            log.warning(
                "pgregistry: plugin %r is %s on rank %d and %s on another; the plan is the same.",
                *(plugin, here, self._scope.rank, there),
            )


def _proposal(rank: int) -> str:
    return f"proposal/{rank}"
