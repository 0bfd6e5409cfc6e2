"""The process that local ranks are forked from: it has imported torch, and has no thread and no store of its own.

It takes one job at a time from the process that started it, and ends when that process does.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from pgregistry.testing.ranks.rank import STACK, Job, live


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one rank.

    Attributes:
        rank: The rank.
        answer: The pickled return value; empty if the rank did not return.
        failure: The traceback or a sentence if the rank failed, else None.
        printed: The text that the rank printed.
    """

    rank: int
    answer: bytes
    failure: str | None
    printed: str


def serve(descriptor: int, preload: Sequence[str]) -> None:
    """Run the jobs that come through a file descriptor until it is closed."""
    for module in preload:
        importlib.import_module(module)  # once, so that no rank has to
    jobs = Connection(descriptor)
    while True:
        try:
            job = jobs.recv()
        except EOFError:
            return
        jobs.send(_run(job, jobs))


def _run(job: Job, jobs: Connection) -> list[Outcome]:
    with TemporaryDirectory() as folder:
        ranks = _Ranks(job, Path(folder))
        try:
            ranks.start(jobs)
            ranks.watch(jobs)
        finally:
            ranks.kill()
        return ranks.outcomes


class _Ranks:
    """The ranks of one job, as the server follows them."""

    def __init__(self, job: Job, files: Path) -> None:
        self.job = job
        self.files = files
        self.outcomes: list[Outcome] = []  # in the order in which the ranks ended
        self._all: dict[Connection, tuple[int, ForkProcess]] = {}  # the server's ends of the pipes to the ranks
        self._running: dict[Connection, tuple[int, ForkProcess]] = {}
        self._ready: set[Connection] = set()

    def start(self, jobs: Connection) -> None:
        """Fork the ranks."""
        fork = multiprocessing.get_context("fork")
        for rank in range(self.job.count):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=self._fork, args=(rank, theirs, (jobs, ours, *self._all)))
            process.start()
            theirs.close()
            self._all[ours] = self._running[ours] = rank, process

    def _fork(self, rank: int, pipe: Connection, inherited: Iterable[Connection]) -> None:
        for connection in inherited:
            connection.close()  # a copy that stays open would hide that the server closes its own
        live(rank, self.job, pipe, self.files)

    def kill(self) -> None:
        """End every rank."""
        for pipe in self._all:
            pipe.close()
        for _, process in self._all.values():
            process.join(1 if not self._failed() else 0)
            process.kill()
            process.join()

    def watch(self, jobs: Connection) -> None:
        """Collect outcomes until every rank has one or the time is up."""
        end, when = time.monotonic() + self.job.timeout, f"after {self.job.timeout:g} s"
        while self._running and (left := end - time.monotonic()) > 0:
            for pipe in wait([*self._running, jobs], left):
                if pipe is jobs:
                    sys.exit()  # the asking process sends nothing meanwhile, so it has ended
                self._receive(pipe)  # type: ignore[arg-type]
            if self._failed() and (soon := time.monotonic() + self.job.grace) < end:  # at the first failure alone
                end, when = soon, f"{self.job.grace:g} s after that"
        for pipe, stack in self._stacks().items():
            self._end(pipe, failure=f"still running {when}, here:\n{stack}")

    def _failed(self) -> bool:
        return any(outcome.failure for outcome in self.outcomes)

    def _receive(self, pipe: Connection) -> None:
        """Take a message of a rank: it is ready for the call, it returned, or it failed."""
        try:
            kind, content = pipe.recv()
        except (EOFError, ConnectionResetError):
            _, process = self._running[pipe]
            process.join(5)
            self._end(pipe, failure=f"ended with {_status(process.exitcode)} and no answer")
            return
        if kind == "ready":
            self._ready.add(pipe)
        else:
            self._end(pipe, **{kind: content})
        self._start_together()

    def _start_together(self) -> None:
        """Let the ranks make the call when all are ready; end those that wait if one failed before that.

        So no rank is still on its way into the process group when another one leaves it.
        """
        if len(self._ready) == self.job.count:
            self._ready.clear()
            for pipe in self._all:
                pipe.send("go")
        elif self._failed():
            for pipe in self._ready & self._running.keys():
                self._end(pipe)

    def _end(self, pipe: Connection, *, answer: bytes = b"", failure: str | None = None) -> None:
        rank, _ = self._running.pop(pipe)
        self.outcomes.append(Outcome(rank, answer, failure, _text(self.files / f"out{rank}")))

    def _stacks(self) -> dict[Connection, str]:
        """Return the stack of each rank that still runs; a signal asks for it, and two seconds are left to write it."""
        asked = {pipe: self.files / f"stack{rank}" for pipe, (rank, _) in self._running.items()}
        for _, process in self._running.values():
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, STACK)
        end = time.monotonic() + 2
        while not all(map(_text, asked.values())) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.1 if asked else 0)  # the last one is writing
        return {pipe: "\n".join(_own_frames(_text(file))) or "no stack came" for pipe, file in asked.items()}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _own_frames(stack: str) -> Iterator[str]:
    """Yield the lines of a stack, innermost first, without the frames of `live` that made the call."""
    ours = False
    for line in stack.splitlines():
        ours = (ours and line.startswith("  File")) or line.endswith(" in live")
        if not ours:
            yield line


def _status(code: int | None) -> str:
    """Return an exit status, with the name of the signal that it stands for."""
    name = signal.Signals(-code).name if code and -code in set(signal.Signals) else None
    return f"{code} ({name})" if name else str(code)
