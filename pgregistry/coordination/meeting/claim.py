"""Claims: which process of which job opened the store, or is a rank."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pgregistry.coordination.decision import Decision, Reason
from pgregistry.coordination.store.codec import WRONG_DATA, received, sendable
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import PlanMismatch, clean

#: The key whose value is the claim of rank 0: it has the prefix of all keys of one `init`.
OPEN: Final = "pgregistry/open"
#: A prefix, below that one, of what ranks agree on before their world is started.
START: Final = "pgregistry/start"
#: Characters of a claim above which no rank has written it, and of its parts.
LARGEST: Final = 2000
PART: Final = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a process to be one rank.

    Attributes:
        job: Its job, in words; empty if its launcher does not say.
        process: Its number and its host.
        token: A text that no other claim has. That of rank 0 is the prefix of all keys.
    """

    job: str
    process: str = field(default_factory=lambda: clean(f"process {os.getpid()} on {os.uname().nodename}", PART))
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def encode(self) -> str:
        """Return the claim as text for the store."""
        return sendable(json.dumps([self.token, self.process, self.job]))

    @staticmethod
    def decode(value: bytes | str, key: str) -> Claim:
        """Return the claim that `encode` made text of.

        Raises:
            PlanMismatch: if it is not one.
        """
        try:
            if len(value) > LARGEST:
                raise ValueError(f"{len(value)} characters")
            token, process, job = json.loads(received(value))
            if not (isinstance(token, str) and isinstance(process, str) and isinstance(job, str)):
                raise TypeError(value)
            return Claim(clean(job, PART), clean(process, PART), clean(token, PART))
        except WRONG_DATA as error:
            raise PlanMismatch(
                f"The store holds what no rank wrote, in key {key}. Another program writes to this store, or ranks run "
                "different versions of pgregistry."
            ) from error

    def is_of_another_job(self, other: Claim) -> bool:
        """Return whether both jobs are known, and differ."""
        return bool(self.job and other.job) and self.job != other.job

    def check_job(self, opened: Claim, rank: int, where: str) -> None:
        """Raise PlanMismatch if the store was opened by another job than that of this claim."""
        if self.is_of_another_job(opened):
            raise PlanMismatch(
                f"Rank {rank}: the store at {where} must be that of {self.job}, of which this rank is, but it is that "
                f"of {opened.job} ({opened.process}).\n  Give each job a MASTER_PORT of its own, equal on all its "
                "ranks.",
                ranks=(rank,),
            )


def refuse_second(store: Any, rank: int, world_size: int, mine: Claim, first: Claim) -> PlanMismatch:
    """Return the error for a second process that claims a rank, which all ranks raise unless they agreed before.

    Args:
        store: The store, below the prefix of this `init`.
        rank: The rank.
        world_size: How many ranks there are.
        mine: The claim of this process.
        first: The claim of the other.
    """
    error = PlanMismatch(
        f"Two processes say that they are rank {rank} of {world_size}: {first.process}, and {mine.process}.\n"
        "  Each process must have a rank of its own: look at how the launcher was started, and at the variables that "
        "it sets.",
        ranks=(rank,),
    )
    scope = ScopedStore(store, rank, range(world_size), name=f"{START}/all/1")
    with suppress(LostError):  # the rank that hosts the store has left, and so have all that could read this
        Decision(scope, "agreement").fail(Reason.of(error))
    return error
