"""One rank, as its watch sees it: what is pending, for how long, and what its threads do."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Hashable
from types import FrameType
from typing import Any, Final

from pgregistry.diagnosis.records.event import is_finished, with_states
from pgregistry.diagnosis.verdict import counted
from pgregistry.diagnosis.watch.rank.answer import Membership, compose, watched
from pgregistry.diagnosis.watch.rank.pulse import Pulse
from pgregistry.diagnosis.watch.rank.stacks import main_frame, stacks
from pgregistry.torch_private import flight_records

#: The part of the shortest timeout after which torch may end what is pending.
PART: Final = 2 / 3
#: The name of the threads of pgregistry, which do nothing for a run.
OURS: Final = frozenset({"pgregistry"})


class Myself:
    """The knowledge of the watch about this rank. Both threads of the watch use it.

    Args:
        seconds: How long something may be pending.
        names: The process groups of the context.
        ranks: The ranks of the context.
    """

    def __init__(self, seconds: float, names: Collection[str], ranks: Collection[int]) -> None:
        self._lock = threading.Lock()
        self._begun = time.time_ns()
        self._membership = Membership(names, ranks, flight_records.members)
        self._pulse = Pulse(seconds, flight_records.counters())
        self._frame: FrameType | None = None

    @property
    def seconds(self) -> float:
        """Return how long something may be pending."""
        return self._pulse.seconds

    def limit(self, timeout: float) -> None:
        """Lower it to a part of a timeout."""
        with self._lock:
            self._pulse.limit(timeout * PART)

    def look(self) -> None:
        """Look at torch's counters, and at the call that the main thread stands in."""
        with self._lock:
            self._look()

    def _look(self) -> dict[str, Any] | None:
        counters = flight_records.counters()
        frame = main_frame()
        standing = None if frame is None else flight_records.point_to_point(frame)
        if frame is not None and standing is not None:
            if self._membership.of(*standing["process_group"]) is None:
                standing = None
            else:
                self._frame = frame  # kept, so that no other call has its number
                name = ("stands", id(frame), frame.f_lasti)
                standing |= {"standing": name, "time_created_ns": time.time_ns()}
                counters[name] = 1, 0
        if standing is None:
            self._frame = None
        self._pulse.look(counters, time.monotonic())
        return standing

    def should_call(self) -> bool:
        """Return True if something of this context has been pending for too long, or has gone on since a roll call."""
        now = time.monotonic()
        with self._lock:
            if self._pulse.went_on:
                return True
            if not self._pulse.due(now):
                return False
            pending = self._pending()
            if any(self._pulse.overdue(name, now) for name in pending):
                return True
            self._pulse.postpone(now)
            return False

    def _pending(self) -> list[Hashable]:
        """Return what is pending in process groups that are watched."""
        standing = self._look()
        entries = watched(flight_records.records(), self._membership, self._begun)
        stated = with_states(entry for _, entry in entries)
        names: list[Hashable] = [
            (source, entry.get("pg_id"))
            for source, entry in entries
            if not is_finished(entry, stated) and self._membership.calls(*entry["process_group"])
        ]
        if standing is not None and self._membership.calls(*standing["process_group"]):
            names.append(standing["standing"])
        return [*dict.fromkeys(names)]

    def answer(self, *, whole: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the answer of this rank to a roll call, and its record for a file if it is wanted."""
        with self._lock:
            standing = self._look()
            entries = watched(flight_records.records(), self._membership, self._begun)
            if standing is not None:
                entries.append(("stack", standing))
            now = time.monotonic()

            def waited(name: Hashable) -> float:
                return self._pulse.waited(name, now)

            stack = stacks(OURS)
            answer = compose(entries, self._membership, waited, stack=stack)
            record = compose(entries, self._membership, waited, stack=stack, whole=True) if whole else {}
            self._pulse.called(now, counted(self._pulse.seconds))
            return answer, record

    def ask_again(self) -> None:
        """Have what counted in a roll call be a reason for another one soon."""
        with self._lock:
            self._pulse.ask_again(time.monotonic())

    def longest(self) -> float:
        """Return the seconds for which the oldest of what is pending has been so."""
        with self._lock:
            return self._pulse.longest(time.monotonic())
