"""The pulse of one rank: what is pending, and for how long nothing has changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

#: Seconds until what counted in a roll call is a reason for another one, at least.
AGAIN: Final = 10.0


@dataclass(slots=True)
class Pending:
    """A process group with something pending, or a call that stands.

    Attributes:
        mark: What changes when it goes on.
        since: When it was first seen, by `time.monotonic()`.
        due: When it is next a reason to call the roll.
        reported: True once it counted in a roll call.
    """

    mark: Hashable
    since: float
    due: float
    reported: bool = False


class Pulse:
    """The pending operations of one rank, from the counters of its process groups.

    >>> pulse = Pulse(10, {"old": (4, 3)})
    >>> pulse.look({"old": (4, 3), "tensor": (8, 7), "data": (5, 5)}, now=0)
    >>> pulse.due(9), pulse.due(10), pulse.waited("tensor", 10), pulse.waited("old", 10)
    (False, True, 10, 0)
    >>> pulse.called(now=10, counted=2)
    >>> pulse.due(12), pulse.due(20), pulse.went_on
    (False, True, False)
    >>> pulse.look({"tensor": (8, 8)}, now=21)
    >>> pulse.due(21), pulse.went_on
    (False, True)

    Args:
        seconds: How long something may be pending.
        before: The counters when the watch began. What was pending then is of process groups that are gone.

    Attributes:
        went_on: True if something that counted in a roll call has ended since.
    """

    def __init__(self, seconds: float, before: Mapping[Hashable, tuple[int, int]]) -> None:
        self.seconds = seconds
        self.went_on = False
        self._pending: dict[Hashable, Pending] = {}
        self._ignored: dict[Hashable, Hashable] = dict(before)

    def look(self, counters: Mapping[Hashable, tuple[int, int]], now: float) -> None:
        """Take in counters: the last operation that each enqueued, and the last that it completed.

        A call that stands has a counter too, (1, 0), under a name of its own.
        """
        for name, one in tuple(self._pending.items()):
            enqueued, completed = counters.get(name, (0, 0))
            if enqueued == completed or completed != one.mark:
                self.went_on |= one.reported
                del self._pending[name]
        for name, (enqueued, completed) in counters.items():
            if self._ignored.get(name) == (enqueued, completed):
                continue
            self._ignored.pop(name, None)
            if enqueued != completed and name not in self._pending:
                self._pending[name] = Pending(completed, now, now + self.seconds)

    def due(self, now: float) -> bool:
        """Return True if something has been pending for so long that the roll must be called."""
        return any(one.due <= now for one in self._pending.values())

    def overdue(self, name: Hashable, now: float) -> bool:
        """Return True if this is a reason to call the roll."""
        return name in self._pending and self._pending[name].due <= now

    def waited(self, name: Hashable, now: float) -> float:
        """Return the seconds for which nothing has changed in a process group; 0 if nothing is pending."""
        one = self._pending.get(name)
        return now - one.since if one else 0

    def longest(self, now: float) -> float:
        """Return the seconds for which the oldest of all has been pending."""
        return max((now - one.since for one in self._pending.values()), default=0)

    def postpone(self, now: float) -> None:
        """Pass over what is due as a reason to call the roll, until it changes: it is not of this context."""
        for one in self._pending.values():
            if one.due <= now:
                one.due = float("inf")

    def called(self, now: float, counted: float) -> None:
        """Note a roll call: what was pending for `counted` seconds counts in it, and is due again in twice the time."""
        self.went_on = False
        for one in self._pending.values():
            if now - one.since >= counted:
                one.reported = True
                one.due = max(one.due, now + max(self.seconds, now - one.since, AGAIN))

    def ask_again(self, now: float) -> None:
        """Have what counted in a roll call be due again soon: a rank that did not answer may only have been slow."""
        for one in self._pending.values():
            if one.reported:
                one.due = min(one.due, now + AGAIN)

    def limit(self, seconds: float) -> None:
        """Lower how long something may be pending."""
        self.seconds = min(self.seconds, seconds)
