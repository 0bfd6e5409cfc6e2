"""The comparison of proposals, when a count of ranks has shown that they are not all the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pgregistry.coordination.barrier import LEAVE
from pgregistry.coordination.decision import COMPOSE, Decision, Reason, Value, smallest_unused
from pgregistry.coordination.places.arrivals import Arrival, Arrivals
from pgregistry.coordination.places.misplaced import unequal_hosts
from pgregistry.coordination.proposal import Proposal, Summary, different_versions, disagreement, sides_of, sized
from pgregistry.coordination.roster import Tally
from pgregistry.coordination.store.codec import read_number
from pgregistry.coordination.store.scoped_store import MOST_RANKS, ScopedStore
from pgregistry.errors import PlanMismatch, format_ranks

log = logging.getLogger("pgregistry")

#: Seconds that present ranks need for a few calls, and those that each rank adds: the store answers some thousands of
#: calls a second.
MOMENT: Final = 1.0
EACH: Final = 0.001
#: The pause before another look at ranks that have signed, in moments, and the factor by which each next is longer.
FIRST_PAUSE: Final = 0.005
LONGER: Final = 1.5
#: The keys of the references.
REFERENCES: Final = ("reference", "reference/other")
#: Sides for whose proposal another rank is looked for, at most.
SIDES: Final = 4


@dataclass(frozen=True, slots=True)
class Comparer:
    """The rank that compares for all, and the digest of its proposal.

    >>> Comparer.decode(Comparer(3, "abc").encode())
    Comparer(rank=3, digest='abc')
    """

    rank: int
    digest: str

    @staticmethod
    def decode(note: str) -> Comparer | None:
        """Return the comparer in a note, None if one must be elected; raise ValueError if it is no such note."""
        if not note:
            return None
        rank, digest = note.split()
        return Comparer(read_number(0, MOST_RANKS, rank), digest)

    def encode(self) -> str:
        """Return the note that `decode` reads."""
        return f"{self.rank} {self.digest}"


class Comparison:
    """The second stage of an agreement: every rank shows its digest, and one compares.

    The rank that compares and those that differ from it introduce themselves: the summary of the first becomes
    a reference, and that of the first that differs from it another. These two and ranks that differ from both
    publish their whole proposals. Only one rank reads those, one of each side.

    Args:
        scope: The scope of this `init`.
        mine: The proposal of this rank.
        arrivals: The ranks that have come, and where they are.

    Attributes:
        decision: The outcome: that ranks go on, or why they do not.
    """

    def __init__(self, scope: ScopedStore, mine: Proposal, arrivals: Arrivals) -> None:
        self._scope = scope
        self._mine = mine
        self._arrivals = arrivals
        self._introduced = False
        self._references: list[Summary] = []
        self.decision = Decision(scope, "comparison")

    @property
    def reference(self) -> Summary | None:
        """Return the summary that this rank has first compared its own with, or None."""
        return self._references[0] if self._references else None

    def introduce(self) -> None:
        """Show the others what this rank proposes; once."""
        if self._introduced:
            return
        scope, mine = self._scope, self._mine
        short = Summary(scope.rank, mine.world_size, mine.digest, {}).encode()
        for key in REFERENCES:
            text = scope.set_if_absent(key, short)
            self._references.append(scope.parse(key, text, Summary.decode))
            if self._references[-1].digest == mine.digest:
                break
        if self._references[-1].digest != mine.digest or self._references[-1].rank == scope.rank:
            scope.set(_proposal(scope.rank), mine.encode())
        self._arrivals.sign(mine.digest, mine.in_use)
        self._introduced = True

    def settle(self, comparer: Comparer | None, expected: int) -> Value:
        """Return the outcome that all ranks hold. One rank compares, and takes it.

        Args:
            comparer: The rank that is to compare; None if one must be elected, as it is if this one does not come back.
            expected: How many ranks can come.
        """
        compare, seconds = partial(self._compare, expected), longest(self._scope)
        chosen = comparer is not None and comparer.rank == self._scope.rank
        if comparer is None or chosen or comparer.digest != self._mine.digest:
            self.introduce()
        else:  # the one that compares has the same proposal
            self._arrivals.sign(self._mine.digest, self._mine.in_use)
        if chosen:
            return compare()
        if comparer is not None and (value := self.decision.wait(time.monotonic() + seconds)):
            return value
        self.introduce()  # the elected one may be of another side
        return self.decision.elect(compare, seconds)

    def note(self) -> str:
        """Return the note with which this rank decides that all go on."""
        return f"{self._scope.rank} {self._mine.summary}"

    def check_digest(self, decision: Decision) -> None:
        """Compare the whole digest with that of the rank which decided; warn of other versions of plugins."""
        rank, mine = self._scope.rank, self._mine
        if decision.text.partition(" ")[2] == mine.summary:  # as a rule, and a tenth of the time of reading it
            return
        decided = decision.note(Summary.decode)
        if decided.world_size != mine.world_size:
            raise PlanMismatch(
                f"The world size of rank {rank} is {sized(mine)}, but that of rank {decided.rank} is "
                f"{decided.world_size}, and its ranks agreed without this one. It must be equal on all ranks.",
                ranks=[rank],
            )
        if decided.digest != mine.digest:
            raise PlanMismatch(
                f"Rank {rank} differs from rank {decided.rank}, but the store holds that all agree: another "
                "program writes to it.",
                ranks=[rank],
            )
        for plugin, here, there in different_versions(mine, decided):
            log.warning(
                "pgregistry: plugin %r is %s on rank %d and %s on rank %d; the plan is the same.",
                *(plugin, here, rank, there, decided.rank),
            )

    def differs(self) -> bool:
        """Return whether a rank that has signed proposes something else."""
        return any(one.digest != self._mine.digest for one in self._arrivals.read().values())

    def _compare(self, expected: int) -> Value:
        """Take the outcome: go on if ranks differ only in the numbers that they have in use."""
        signed = self._all_signed(expected)
        if len(signed) >= expected and self._same(signed):  # what differs is then a rank that has not signed yet
            signed = self._all_signed(self._scope.count("tally", 0, Tally.read).came)
        if {one.digest for one in signed.values()} != {self._mine.digest}:
            return self.decision.fail(self._difference(signed))
        if missing := [rank for rank in self._scope.ranks if rank not in signed]:
            text = f"{format_ranks(missing).capitalize()} came, but did not answer when ranks compared their plans"
            return self.decision.fail(Reason(f"{text}; nothing was created.", tuple(missing), mismatch=True))
        if problem := self._arrivals.problem():
            return self.decision.fail(problem)
        if self._same(signed):  # then the tally was not their sum
            try:
                self._scope.parse("tally", "", _not_their_sum)
            except PlanMismatch as error:
                return self.decision.fail(Reason.of(error))
        in_use = 0
        for one in signed.values():
            in_use |= one.in_use
        return self.decision.take("go", smallest_unused(in_use), self.note())

    def _same(self, signed: Mapping[int, Arrival]) -> bool:
        """Return whether ranks that have signed all add the same to the tally."""
        numbers = {smallest_unused(one.in_use) for one in signed.values()}
        return {one.digest for one in signed.values()} == {self._mine.digest} and len(numbers) == 1

    def _all_signed(self, expected: int) -> dict[int, Arrival]:
        """Return the ranks that have signed, when all have. Ranks that differ need not wait for one that is slow."""
        until, pause = time.monotonic() + moment(self._scope), FIRST_PAUSE * moment(self._scope)
        while True:
            late = time.monotonic() > until
            signed = self._arrivals.read(0 if late else expected)
            if len(signed) >= expected:
                return signed
            differ = any(one.digest != self._mine.digest for one in signed.values())
            if late and (differ or time.monotonic() > until + COMPOSE):
                return signed
            time.sleep(pause)
            pause *= LONGER

    def _difference(self, signed: Mapping[int, Arrival]) -> Reason:
        """Return the ranks on each side, and what differs: the only rank that reads what the others proposed."""
        sides = sides_of({rank: one.digest for rank, one in signed.items()})
        proposals = {self._mine.digest: self._mine, **self._read(sides)}
        known = min(proposal.world_size for proposal in proposals.values())
        missing = [rank for rank in self._scope.ranks if rank not in signed and rank < known]
        most = next(iter(sides))
        at_fault = [rank for rank, one in signed.items() if one.digest != most]
        places = {rank: one.place for rank, one in signed.items()}
        text = disagreement(sides, proposals, missing) + ("" if missing else unequal_hosts(places))
        return Reason(text, (*at_fault, *missing), mismatch=True)

    def _publisher(self, ranks: Sequence[int]) -> int | None:
        """Return a rank of a side that has published its proposal, of the first and the last."""
        some = dict.fromkeys((*ranks[:2], *ranks[-2:]))
        return next((rank for rank in some if self._scope.has(_proposal(rank))), None)

    def _read(self, sides: Mapping[str, Sequence[int]]) -> dict[str, Proposal]:
        """Return one proposal of each other side: of the rank that was the reference, or of the lowest."""
        for key in REFERENCES[len(self._references) :]:
            if texts := self._scope.read([key], LEAVE):
                self._references.append(self._scope.parse(key, texts[0], Summary.decode))
        publishers = {digest: ranks[0] for digest, ranks in sides.items() if digest != self._mine.digest}
        publishers |= {one.digest: one.rank for one in self._references if one.digest in publishers}
        texts = self._scope.read([_proposal(rank) for rank in publishers.values()], LEAVE) if publishers else []
        if texts is None:  # one is gone: of a few sides, take another
            there = {digest: self._publisher(sides[digest]) for digest in [*publishers][:SIDES]}
            publishers = {digest: rank for digest, rank in there.items() if rank is not None}
            texts = self._scope.read([_proposal(rank) for rank in publishers.values()], LEAVE)
        if texts is None:
            log.debug("the proposals of %s were not published in time", format_ranks(publishers.values()))
            return {}
        return {
            digest: self._scope.parse(_proposal(rank), text, Proposal.decode)
            for (digest, rank), text in zip(publishers.items(), texts, strict=True)
        }


def longest(scope: ScopedStore) -> float:
    """Return the seconds in which a rank that compares has taken the outcome."""
    return moment(scope) + 2 * COMPOSE


def moment(scope: ScopedStore) -> float:
    """Return the seconds in which ranks that are there make a few calls of the store."""
    return MOMENT + EACH * len(scope.ranks)


def _not_their_sum(text: str) -> None:
    raise ValueError(text)


def _proposal(rank: int) -> str:
    return f"proposal/{rank}"
