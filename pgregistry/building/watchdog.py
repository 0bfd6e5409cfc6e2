"""The watchdog of a build: it ends the wait for ranks that failed or are missing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Final

from pgregistry.building.specs import GroupSpec
from pgregistry.coordination.barrier import check_failure, give_up
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import format_ranks

#: Seconds for which a rank that connects to others goes on before it looks whether one failed.
LOOK: Final = 2.0


class Watchdog:
    """Ends the wait for other ranks when one of them has failed, and when the time is up.

    Attributes:
        seconds: The time that the build may take.
    """

    def __init__(self, scope: ScopedStore, groups: Mapping[GroupSpec, object], seconds: float) -> None:
        self._scope = scope
        self._groups = groups
        self._until = time.monotonic() + seconds
        self.seconds = seconds

    def next(self, seconds: float) -> float:
        """Return the seconds until the next look: at most `seconds`, less if the time is up earlier."""
        return max(min(seconds, self._until - time.monotonic()), 0.001)

    def after(self, seconds: float = math.inf) -> float:
        """Return the seconds for a wait in torch: at most `seconds`, less if that still ends after the time is up.

        torch cannot name who is missing, so its wait must not end before this one.
        """
        return min(seconds, self.next(seconds) + 2 * LOOK)

    def look_around(self) -> None:
        """Return if there is still something to wait for.

        Raises:
            BuildError: with the failure of another rank, or when the time is up, with the ranks that are missing.
        """
        check_failure(self._scope)
        if time.monotonic() >= self._until:
            raise give_up(self._scope, self._describe)

    def _describe(self, missing: Sequence[int]) -> str:
        """Return what this rank waited for, given the ranks that did not answer a roll call."""
        waited = f"Rank {self._scope.rank} waited {self.seconds:g} s."
        left = [spec for spec, group in self._groups.items() if group is None]
        for spec in left or self._groups:  # all are made before an address comes if gloo connects when it is used
            if absent := set(spec.ranks).intersection(missing):
                verb = "is" if len(absent) == 1 else "are"
                return f"{waited} {format_ranks(absent).capitalize()} {verb} missing from {spec}."
        if left:
            return f"{waited} These are not connected: {'; '.join(map(str, left))}."
        return f"{waited} Another rank is not done."
