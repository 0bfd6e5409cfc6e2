"""One plan on all ranks, or one error on all ranks: compared through the store before anything is built.

Each rank makes three calls, and one more if ranks show their hosts. It adds itself and a part of its
digest to one number, the tally. The rank that completes the tally finds in the sum whether all are the
same. If so, it takes the decision that all go on, with its own summary, against which every rank checks
its whole digest. If not, ranks introduce themselves, one of them compares, and every rank raises the text
that it writes.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from functools import partial
from typing import Final

from pgregistry.coordination.barrier import LEAVE
from pgregistry.coordination.comparison import Comparer, Comparison, longest, moment
from pgregistry.coordination.decision import TURNS, Decision, Reason, Value, did_not_come, fail_call, smallest_unused
from pgregistry.coordination.places.arrivals import Arrival, Arrivals
from pgregistry.coordination.proposal import Proposal
from pgregistry.coordination.roster import Tally
from pgregistry.coordination.store.codec import read_number
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import MOST_RANKS, ScopedStore
from pgregistry.coordination.within_conflicts import NOTES, WithinConflicts
from pgregistry.errors import PlanMismatch, describe, format_ranks

log = logging.getLogger("pgregistry")

#: Seconds that ranks which differ wait for the others before they decide without them.
GRACE: Final = 5.0
#: Ranks that then read what the others propose, at most: the list grows with the world.
READERS: Final = 8
#: Moments until the host of the store looks at ranks that leave; each further look comes after twice as long.
LEAVING: Final = 0.01


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
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._decision = Decision(scope, "agreement")
        self._arrivals = arrivals or Arrivals(scope)
        self._comparison = Comparison(scope, mine, self._arrivals)
        self.settled = False
        self.number = 0
        self._counted = False  # whether this rank is in the tally
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
            value = self._take_part()
            if self._mine.error is not None:
                self.settled = True
                return
            self._end(value)
            self.number = self._decision.number
            self._comparison.check_digest(self._decision)
        except LostError as error:
            raise self._lost(error) from error

    def watch(self) -> None:
        """Return when the ranks of the scope agree. This rank is not one of them, and they do not wait for it.

        Raises:
            PlanMismatch: what the ranks of the scope raise.
        """
        try:
            self._conflicts.note()
            self._end(self._decision.wait(self._until, self._look_around) or self._decision.take("missing"))
        except LostError as error:
            raise self._lost(error) from error

    def stop(self, error: BaseException) -> Value | None:
        """Publish that this rank stops, for ranks that still compare their plans; return the value that holds."""
        rank = self._scope.rank
        text = f"Rank {rank} stopped while ranks compared their plans: {describe(error)}"
        mine = Reason.of(error) if isinstance(error, PlanMismatch) else Reason(text, (rank,), mismatch=True)
        try:
            return fail_call(self._scope, mine)[0]
        except (LostError, PlanMismatch) as failure:
            log.debug("the stop of rank %d could not be published: %s", rank, failure)
            return None

    def leave(self, *, hosts: bool, everywhere: bool = False) -> None:
        """Leave after an error. The rank that hosts the store leaves last, so that all others read why.

        Args:
            hosts: Whether this rank hosts the store.
            everywhere: Whether ranks may wait for this one in any other scope.
        """
        scope = self._scope
        try:
            if self._counted:
                scope.count_ranks("left")
            self._conflicts.forget()
            if everywhere and self._conflicts.quote(self._mine.error or "", self._all_came):
                time.sleep(moment(scope) if hosts else 0)  # the one that read it tells the others
            elif hosts:
                self._wait_for_others()
        except (LostError, PlanMismatch) as lost:
            log.debug("rank %d leaves a store that is gone: %s", scope.rank, lost)

    def _all_came(self) -> bool:
        return self._count(0).came >= len(self._scope.ranks)

    def _wait_for_others(self) -> None:
        scope, came = self._scope, self._count(0).came
        # If planning failed on this rank, the others may not have come yet.
        early = self._mine.error is not None
        others = len(scope.ranks) - (not self._counted) if early else came
        until = time.monotonic() + LEAVE + (GRACE if early else 0)
        pause = LEAVING * moment(scope)
        while scope.count("left", 0, partial(read_number, 0, MOST_RANKS)) < others and time.monotonic() < until:
            time.sleep(pause)
            pause *= 2
        if came < len(scope.ranks):
            self._conflicts.outlive(self._at_fault, until)

    def _end(self, value: Value) -> None:
        """Return if all ranks go on; raise the error of all if they do not."""
        decision, takes_part = self._decision, self._scope.rank in self._scope.ranks
        if value == "compare":
            comparer = decision.note(Comparer.decode)
            self._decision = decision = self._comparison.decision
            if takes_part:
                value = self._comparison.settle(comparer, self._expected())
            else:
                until = self._until + GRACE + (1 + TURNS) * longest(self._scope)
                value = decision.wait(until) or decision.take("missing")
        if value == "missing" and takes_part:
            self._sign()
        if value != "go":
            reason = decision.reason(value, self._missing, elect=takes_part or value == "missing")
            self.settled = True
            self._at_fault = reason.ranks
            self._conflicts.count_calls(reason)
            raise reason.error()
        self._conflicts.forget()

    def _lost(self, error: LostError) -> PlanMismatch:
        return PlanMismatch(
            f"Rank {self._scope.rank}: {self._scope.host}, which hosts the store, is gone before all ranks agreed "
            f"({error})."
        )

    def _take_part(self) -> Value:
        """Add this rank to the tally, and return the value that all ranks hold."""
        failed = self._mine.error is not None
        if failed:
            self._comparison.introduce()
        elif self._arrivals.needed:
            self._sign()
        ranks = len(self._scope.ranks)
        part = Tally.part(f"{self._mine.digest} {smallest_unused(self._mine.in_use)}", ranks)
        tally = self._count(Tally.addend(part))
        self._counted = True
        same = tally.came <= ranks and tally.total == tally.came * part
        if failed:
            return self._decision.take("compare")  # the others need not wait, and elect one that compares
        if tally.came >= self._expected():
            return self._decide(same=same)
        self._conflicts.note()
        patience = moment(self._scope) if same else max(GRACE, 2 * moment(self._scope))
        if value := self._decision.wait(min(self._until, time.monotonic() + patience)):
            return value
        if not same:
            self._comparison.introduce()
        if not same and self._scope.count_ranks("differing") <= READERS and self._comparison.differs():
            return self._let_compare()
        self._sign()  # so that it is not taken for one that is missing
        self._look_around(log_missing=False)
        return self._decision.wait(self._until, self._look_around) or self._decision.take("missing")

    def _decide(self, *, same: bool) -> Value:
        """Take the decision on the last rank that comes."""
        if not same:
            return self._let_compare()
        if problem := self._arrivals.problem():
            return self._decision.fail(problem)
        return self._decision.take("go", smallest_unused(self._mine.in_use), self._comparison.note())

    def _let_compare(self) -> Value:
        """Decide that all ranks compare, this one for all."""
        return self._decision.take("compare", note=Comparer(self._scope.rank, self._mine.digest).encode())

    def _sign(self) -> None:
        self._arrivals.sign(self._mine.digest, self._mine.in_use)

    def _count(self, number: int) -> Tally:
        return self._scope.count("tally", number, Tally.read)

    def _expected(self) -> int:
        """Return how many ranks can come: if world sizes differ, those that all sides count."""
        known = min(one.world_size for one in (self._comparison.reference, self._mine) if one is not None)
        return bisect_left(self._scope.ranks, known)

    def _signed(self) -> dict[int, Arrival]:
        """Return the ranks that have come. Each signs when it has waited a moment, or reads that one is missing."""
        return self._arrivals.read_all(self._count(0).came, moment(self._scope))

    def _look_around(self, *, log_missing: bool = True) -> None:
        """Find out, on one of the ranks that wait, which ranks are missing, and whether they wait elsewhere."""
        if self._looks is None:
            self._looks = self._scope.count_ranks("looking", others=True) == 1
        if not self._looks:
            return
        signed = self._signed()
        if not (missing := [rank for rank in self._scope.ranks if rank not in signed]):
            return
        self._scope.check_calls(missing[:NOTES])
        if reason := self._conflicts.find(missing):
            self._conflicts.end(reason)
        elif log_missing:
            log.warning(
                "pgregistry: waiting for %s of %d to agree on the plan", format_ranks(missing), len(self._scope.ranks)
            )

    def _missing(self) -> Reason:
        return did_not_come(self._scope.ranks, self._signed(), self._seconds)
