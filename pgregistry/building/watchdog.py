"""How ranks that build wait for one another: they look whether one has failed, and whether the time is up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from pgregistry.building.specs import Request
from pgregistry.coordination.barrier import check_failure, give_up
from pgregistry.coordination.store import ScopedStore
from pgregistry.errors import format_ranks

#: Seconds for which a rank that connects to others goes on before it looks whether one failed.
LOOK: Final = 2.0


class Lookout:
    """What a rank looks at while it waits for others: whether one has failed, whether the time is up."""

    def __init__(self, board: ScopedStore, requests: Sequence[Request], seconds: float) -> None:
        self._board = board
        self._requests = requests
        self._begun = time.monotonic()
        self.seconds = seconds
        self.took: dict[Request, float] = {}

    def made(self, request: Request) -> None:
        """Note that a process group is there."""
        self.took[request] = time.monotonic() - self._begun

    def next(self, seconds: float) -> float:
        """How long to wait before the next look: so many seconds, or less where the time is up before."""
        return max(min(seconds, self._begun + self.seconds - time.monotonic()), 0.001)

    def __call__(self) -> None:
        """Look around once.

        Raises:
            BuildError: with what another rank failed with, or who does not come when the time is up.
        """
        check_failure(self._board)
        if time.monotonic() >= self._begun + self.seconds:
            raise give_up(self._board, self._waits_for)

    def _waits_for(self, missing: Sequence[int]) -> str:
        """Return which group waits for which rank, given the ranks that do not answer."""
        left = [request for request in self._requests if request not in self.took]
        waited = f"Rank {self._board.rank} waited {self.seconds:g} s."
        for request in left:
            if absent := [rank for rank in request.ranks if rank in missing]:
                verb = "does" if len(absent) == 1 else "do"
                return f"{waited} {format_ranks(absent).capitalize()} {verb} not come to {request}."
        if left:
            return f"{waited} These are not connected: {'; '.join(map(str, left))}."
        return f"{waited} Another rank is not done."
