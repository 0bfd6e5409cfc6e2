"""The process that local ranks are forked from: it has imported torch, and holds no thread and no store.

It takes one job at a time from the process that started it, and ends with that.
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

from pgregistry.testing.ranks.rank import WHERE, Job, live


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one rank: its answer, pickled, or what is wrong; and what it printed."""

    rank: int
    answer: bytes
    wrong: str | None
    printed: str


def serve(descriptor: int, preload: Sequence[str]) -> None:
    """Run the jobs that come through a file descriptor, until it is closed."""
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
    fork = multiprocessing.get_context("fork")
    with TemporaryDirectory() as folder:
        ranks = _Ranks(job, Path(folder))
        try:
            for rank in range(job.count):
                ours, theirs = fork.Pipe()
                process = fork.Process(target=_fork, args=(rank, job, theirs, ranks, (ours, jobs)))
                process.start()
                theirs.close()
                ranks.add(ours, rank, process)
            ranks.watch(jobs)
        finally:
            ranks.kill()
        return ranks.outcomes


def _fork(rank: int, job: Job, pipe: Connection, ranks: _Ranks, inherited: Sequence[Connection]) -> None:
    for connection in (*inherited, *ranks.pipes()):
        connection.close()  # or nobody would notice that the server closes it
    live(rank, job, pipe, ranks.files)


class _Ranks:
    """The ranks of one job, while they run."""

    def __init__(self, job: Job, files: Path) -> None:
        self.job = job
        self.files = files
        self.outcomes: list[Outcome] = []  # in the order in which ranks ended
        self._running: dict[Connection, tuple[int, ForkProcess]] = {}
        self._all: dict[Connection, ForkProcess] = {}

    def add(self, pipe: Connection, rank: int, process: ForkProcess) -> None:
        self._running[pipe] = rank, process
        self._all[pipe] = process

    def pipes(self) -> Iterable[Connection]:
        """The server's ends of the pipes to the ranks so far."""
        return self._all

    def kill(self) -> None:
        """End every rank."""
        for pipe in self._all:
            pipe.close()
        for process in self._all.values():
            process.join(1 if not self._wrong() else 0)
            process.kill()
            process.join()

    def watch(self, jobs: Connection) -> None:
        """Take what ranks answer until all have, or time is up."""
        end, when = time.monotonic() + self.job.timeout, f"after {self.job.timeout:g} s"
        hurry = False
        while self._running and (left := end - time.monotonic()) > 0:
            for pipe in wait([*self._running, jobs], left):
                if pipe is jobs:
                    sys.exit()  # nobody asks for anything meanwhile, so who asked is gone
                self._take(pipe)  # type: ignore[arg-type]
            if self._wrong() and not hurry:
                hurry, soon = True, time.monotonic() + self.job.grace
                if soon < end:
                    end, when = soon, f"{self.job.grace:g} s after that"
        for pipe, where in self._stacks().items():
            self._end(pipe, wrong=f"still running {when}, here:\n{where}")

    def _wrong(self) -> bool:
        return any(outcome.wrong for outcome in self.outcomes)

    def _take(self, pipe: Connection) -> None:
        try:
            good, answer = pipe.recv()
        except EOFError:
            _, process = self._running[pipe]
            process.join(5)
            self._end(pipe, wrong=f"ended with {_shown(process.exitcode)} and no answer")
        else:
            self._end(pipe, **{"answer" if good else "wrong": answer})

    def _end(self, pipe: Connection, *, answer: bytes = b"", wrong: str | None = None) -> None:
        rank, _ = self._running.pop(pipe)
        self.outcomes.append(Outcome(rank, answer, wrong, _text(self.files / f"out{rank}")))

    def _stacks(self) -> dict[Connection, str]:
        """Where the ranks stand that still run; each is asked by a signal and has two seconds to answer."""
        asked = {pipe: self.files / f"stack{rank}" for pipe, (rank, _) in self._running.items()}
        for _, process in self._running.values():
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, WHERE)
        end = time.monotonic() + 2
        while not all(map(_text, asked.values())) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.1 if asked else 0)  # the last one is writing
        return {pipe: "\n".join(_theirs(_text(file))) or "it does not say" for pipe, file in asked.items()}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _theirs(stack: str) -> Iterator[str]:
    """The lines of a stack, innermost first, without the frames that called the function."""
    ours = False
    for line in stack.splitlines():
        ours = (ours and line.startswith("  File")) or line.endswith(" in live")
        if not ours:
            yield line


def _shown(code: int | None) -> str:
    """An exit status, with the name of the signal that it stands for."""
    name = signal.Signals(-code).name if code and -code in set(signal.Signals) else None
    return f"{code} ({name})" if name else str(code)
