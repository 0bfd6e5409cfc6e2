"""The watch of one rank: a thread that looks at torch's counters now and then, and one that waits for a roll call."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

from torch.distributed import DistError

from pgregistry.coordination.abandonable import AbandonableThread, Gate, give_up, run_abandonable
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.diagnosis.verdict import ABSENT, counted
from pgregistry.diagnosis.watch.files import Folder
from pgregistry.diagnosis.watch.judgement import Judgement, pass_judgement, report_alone
from pgregistry.diagnosis.watch.rank.myself import Myself
from pgregistry.diagnosis.watch.roll_call import CLOSED, RollCall, delete_wake, end_wait, leave, waits_in_server
from pgregistry.planning.plans.plan import Plan

log = logging.getLogger("pgregistry.watch")

#: Seconds between two looks at the counters, at most and at least; between them a tenth of the watch.
LOOK: Final = 1.0
SHORTEST: Final = 0.02
#: Seconds within which ranks that wait call the roll, each at a random moment, so that one calls it for all.
SPREAD: Final = 0.5
#: Seconds in which ranks answer; in which one that was to judge has done so; and in which the store answers.
ANSWERS: Final = 3.0
JUDGE: Final = 4.0
STORE: Final = 3.0
#: Seconds after which a store that has woken this rank for a roll call is taken for stopped.
SLOW: Final = 8.0
#: Seconds in which the store must answer a rank that leaves.
MOMENT: Final = 1.0
#: Ranks that judge in turn if the caller does not.
DEPUTIES: Final = 2
#: Seconds after which a standing wait is begun anew, so that nothing on the way takes its connection for forgotten.
STANDING: Final = 600.0
#: Seconds within which ranks connect for the watch, each at a random moment: a store may have as many clients as there
#: are ranks, and `init` need not wait for it. It is at most a tenth of the watch.
CONNECT: Final = 10.0
#: Connections to the store that a rank makes, one after another, and what shows that one is lost.
CONNECTIONS: Final = 10
LOST: Final = (LostError, DistError, OSError)
#: Calls of the roll without an answer after which a rank reports alone.
CALLS: Final = 2


class Watch:
    """The watch of one rank, from `start` to `close`. It never ends a run, and raises nothing.

    Args:
        scope: The store of the ranks that are watched.
        plan: Their plan.
        seconds: How long something may be pending.
        names: The names that torch has for the process groups of this rank.
        folder: Where records are kept; None for nowhere.
    """

    def __init__(
        self, scope: ScopedStore, plan: Plan, seconds: float, names: Collection[str], folder: str | None = None
    ) -> None:
        self._scope, self._plan = scope, plan
        self._myself = Myself(seconds, names, scope.ranks)
        self._folder = Folder(folder, plan, log) if folder else None
        self._closing = Gate()
        self._number = 0  # of the next roll call
        self._unanswered = 0
        self._alone = False
        self._busy: float | None = None  # when the store must have answered, in a roll call
        self._judgement = Judgement()
        self._threads: list[AbandonableThread] = []

    @property
    def seconds(self) -> float:
        """Return how long something may be pending."""
        return self._myself.seconds

    def start(self) -> None:
        """Start both threads; without them if the system gives none."""
        for job in (self._look_now_and_then, self._wait_for_roll_calls):
            thread = AbandonableThread(job)
            self._threads.append(thread)  # at once: Ctrl-C may come when it has just started
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                log.info("There is no watch on rank %d, for the system gives no thread: %s", self._scope.rank, error)
                return

    def limit(self, timeout: float) -> None:
        """Lower the time that something may be pending, for process groups that have another timeout now."""
        self._myself.limit(timeout)

    def close(self, error: BaseException | None = None) -> None:
        """End both threads, or leave them behind if the store does not answer.

        Args:
            error: What ends the context before its time. Ranks that wait for this one are told.
        """
        self._closing.open()
        threads, self._threads = self._threads, []
        if all(thread.wait(0) for thread in threads[1:]):  # the store is gone, or there was no thread to be had
            give_up(threads)
            return
        rank, number = self._scope.rank, self._number
        if error is not None:
            self._in_time(partial(leave, rank, error), MOMENT)
        if give_up(threads, partial(self._in_time, partial(end_wait, rank, number), MOMENT)):
            self._in_time(partial(delete_wake, rank, number), MOMENT)

    def _in_time(self, question: Callable[[Any], object], seconds: float) -> None:
        try:
            run_abandonable(partial(question, self._scope.store), _late, seconds)
        except (LostError, RuntimeError) as error:
            log.debug("the store does not answer the watch: %s", error)

    # The thread that looks.

    def _look_now_and_then(self) -> None:
        while not self._closing.wait(self._pause()):
            try:
                self._look()
            except Exception as error:  # whatever it is must not end a run
                log.debug("the watch of rank %d fails: %r", self._scope.rank, error)

    def _pause(self) -> float:
        return min(LOOK, max(self._myself.seconds / 10, SHORTEST))

    def _look(self) -> None:
        me = self._myself
        me.look()
        if self._alone and me.longest() < counted(me.seconds):
            self._alone, self._unanswered = False, 0
            log.warning("Taken back: rank %d waits no longer.", self._scope.rank)
        if self._busy is not None:
            if time.monotonic() > self._busy:
                self._report_alone()
            return
        if not me.should_call():
            return
        number = self._number
        if self._closing.wait(random.uniform(0, min(SPREAD, me.seconds / 10))) or self._number != number:
            return
        self._unanswered += 1
        try:
            if self._unanswered > CALLS:
                raise LostError("nobody answers")
            run_abandonable(partial(self._call, number), _late, STORE)
        except (LostError, RuntimeError, OSError) as error:
            log.debug("rank %d cannot call the roll: %s", self._scope.rank, error)
            self._report_alone()

    def _call(self, number: int) -> None:
        store = self._scope.second_connection()
        RollCall(store, self._scope.rank, self._scope.ranks, number).call()

    def _report_alone(self) -> None:
        seconds = self._myself.longest()
        if not self._alone and seconds >= counted(self._myself.seconds):
            self._alone = True
            answer, _ = self._myself.answer()
            log.error("%s", report_alone(answer, self._scope, self._plan, seconds))

    # The thread that waits.

    def _wait_for_roll_calls(self) -> None:
        if self._folder is not None:
            self._write(partial(self._folder.prepare, self._scope.rank))
        if self._closing.wait(random.uniform(0, min(CONNECT, self.seconds / 10))):
            return
        for _ in range(CONNECTIONS):
            try:
                store = self._scope.second_connection()
            except (LostError, RuntimeError, OSError) as error:
                log.debug("rank %d waits for roll calls no longer: %s", self._scope.rank, error)
                return
            try:
                self._answer_roll_calls(store)
                return
            except Exception as error:  # its host is gone, or something on the way forgot the connection
                log.debug("rank %d connects to the store anew: %s", self._scope.rank, error)
            if self._closing.wait(LOOK):
                return

    def _answer_roll_calls(self, store: Any) -> None:
        standing = waits_in_server(store)
        while not self._closing.is_open:
            roll_call = RollCall(store, self._scope.rank, self._scope.ranks, self._number)
            caller = roll_call.wait(STANDING) if standing else self._poll(roll_call)
            if caller == CLOSED:
                return
            if caller is not None:
                self._number += 1
                self._take_part(roll_call, caller)

    def _write(self, job: Callable[[], None]) -> None:
        try:
            run_abandonable(job, _late, STORE)
        except LostError:
            log.warning("rank %d cannot keep its record: watch_dir does not answer for %g s", self._scope.rank, STORE)

    def _poll(self, roll_call: RollCall) -> str | None:
        self._closing.wait(self._pause())
        return None if self._closing.is_open else roll_call.look()

    def _take_part(self, roll_call: RollCall, caller: str) -> None:
        self._unanswered, self._alone = 0, False
        self._asks()
        try:
            answer, record = self._myself.answer(whole=self._folder is not None)
            roll_call.answer(answer)
            if self._folder is not None:
                self._asks(STORE)
                self._write(partial(self._folder.keep, self._scope.rank, record))
            found = self._find_judgement(roll_call, caller)
            if found is None:
                self._report_alone()
                return
            before, self._judgement = self._judgement.guilty, found
            if ABSENT in found.guilty.values() and found.guilty != before:
                self._myself.ask_again()
            if found.text:
                log.log(logging.ERROR if found.stuck else logging.WARNING, "%s", found.text)
            roll_call.forget(caller)
        except LOST:
            self._report_alone()
            raise
        except Exception as error:  # whatever it is must not keep this rank from the next roll call
            log.debug("rank %d fails in a roll call: %r", self._scope.rank, error)
        finally:
            self._busy = None

    def _asks(self, seconds: float = 0) -> None:
        """Note that the store is asked something, which may take `seconds`: a host that is stopped never answers."""
        self._busy = time.monotonic() + seconds + SLOW

    def _find_judgement(self, roll_call: RollCall, caller: str) -> Judgement | None:
        """Return the judgement of all ranks, of the caller or of a deputy; None if neither passes one in time."""
        turn = [caller, *[str(rank) for rank in self._scope.ranks[: DEPUTIES + 1] if str(rank) != caller]]
        for judge in turn[: DEPUTIES + 1]:
            if judge == str(self._scope.rank):
                self._asks(ANSWERS)
                answers = roll_call.answers(ANSWERS)
                left, hosts = {}, dict[int, str]()
                if len(answers) < len(self._scope.ranks):
                    left, hosts = roll_call.left(), roll_call.host_names()
                self._asks(JUDGE)
                patience, before = self._myself.seconds, self._judgement
                mine = pass_judgement(answers, self._plan, patience, before, left=left, hosts=hosts)
                return Judgement.from_data(roll_call.decide(mine.to_data()))
            seconds = ANSWERS * (judge == caller) + JUDGE
            self._asks(seconds)
            found = roll_call.decision(seconds)
            if found is not None:
                return Judgement.from_data(found)
        return None


def _late() -> None:
    raise LostError("no answer in time")
