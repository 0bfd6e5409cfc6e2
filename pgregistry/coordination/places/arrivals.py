"""Ranks that come to an agreement, each with its place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgregistry.coordination.decision import Reason
from pgregistry.coordination.places.misplaced import misplaced
from pgregistry.coordination.places.place import Place, domains_of, out_of_order
from pgregistry.coordination.roster import Roster, entries
from pgregistry.coordination.store.codec import read_numbers
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import PlanMismatch
from pgregistry.planning.plans.plan import Plan

log = logging.getLogger("pgregistry")

#: The key of the list that ranks sign.
ROSTER: Final = "roster"
#: Moments before each further look at ranks that have come and are about to sign.
PAUSES: Final = (0.1, 0.3, 0.9)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A rank that has come to an agreement.

    Attributes:
        digest: That of its proposal.
        in_use: The numbers that it has in use, as bits.
        place: Where it is.
    """

    digest: str
    in_use: int
    place: Place

    @staticmethod
    def read(note: str) -> Arrival:
        """Return what a rank has signed with; raise ValueError if it is not that."""
        digest, in_use, place = note.split("/", 2)
        return Arrival(digest, read_numbers(in_use), Place.read(place))


def names_of_hosts(text: str) -> dict[int, str]:
    """Return the name of the host of each rank, by the list that ranks sign when they come to an agreement.

    >>> names_of_hosts("0:/0/" + Place("node1").note() + " 1:/0/" + Place("node2").note() + " ")
    {0: 'node1', 1: 'node2'}
    """
    return {rank: one.place.host for rank, one in entries(Arrival.read, text).items()}


class Arrivals:
    """The ranks that have come to an agreement.

    Args:
        scope: The scope of this `init`.
        place: Returns where this rank is; called only if ranks show that.
        plan: The plan of this rank, if it has one.
        numbered: Whether torchrun numbered several hosts.
        one_host: Whether all ranks are known to be on this host.
        domain: The domain of its host, as Slurm says; empty if it does not.

    Attributes:
        needed: Whether the place of a rank is needed even if all propose the same, so that it must sign at once.
    """

    def __init__(
        self,
        scope: ScopedStore,
        place: Callable[[], Place] = lambda: Place(""),
        plan: Plan | None = None,
        *,
        numbered: bool = False,
        one_host: bool = True,
        domain: str = "",
    ) -> None:
        self._roster = Roster(scope, ROSTER, others=True)
        self._place, self._plan, self._domain = place, plan, domain
        self._numbered = numbered and plan is not None and plan.ranks is None
        self._signed = False
        self._checks = self._numbered or (plan is not None and any(mode.needs_hosts for mode in plan.planned))
        self.needed = not one_host or self._checks or bool(domain)

    def sign(self, digest: str = "", in_use: int = 0) -> None:
        """Sign for this rank, with the digest of its proposal and the numbers that it has in use; once."""
        if not self._signed:
            self._roster.sign(f"{digest}/{in_use:x}/{self._place().note()}")
            self._signed = True

    def read(self, least: int = 0) -> dict[int, Arrival]:
        """Return the ranks that have come, or none if fewer than `least` have."""
        return self._roster.read(Arrival.read, least)

    def read_all(self, came: int, moment: float) -> dict[int, Arrival]:
        """Return the ranks that have come, when as many as `came` have signed, or have had a moment for it.

        Args:
            came: How many ranks have come, those that are about to sign too.
            moment: Seconds in which ranks make a few calls.
        """
        signed = self.read()
        for pause in PAUSES:
            if len(signed) >= came:
                break
            time.sleep(pause * moment)
            signed = self.read()
        return signed

    def places(self) -> dict[int, Place]:
        """Return where the ranks are that have come."""
        return {rank: one.place for rank, one in self.read().items()}

    def domains(self) -> list[list[int]]:
        """Return the ranks of each domain that Slurm knows; empty if it knows none, or the user gave them.

        It is for the log alone, so a store that is gone is not an error here.
        """
        if not self._domain or self._plan is None or self._plan.hosts_per_domain is not None:
            return []
        try:
            return [*domains_of(self.places()).values()]
        except (LostError, PlanMismatch) as error:
            log.debug("domains could not be read: %s", error)
            return []

    def problem(self) -> Reason | None:
        """Return why the plan cannot be built on the hosts that ranks are on; warn if their order may be wrong.

        The places of the others are read only if a mode needs hosts, or torchrun numbered several.
        """
        plan = self._plan
        if plan is None or not self._checks:
            return None
        places = self.places()
        if self._numbered and (warning := out_of_order(places)):
            log.warning("pgregistry: %s", warning)
        return misplaced(plan, places)
