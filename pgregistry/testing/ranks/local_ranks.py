"""Run a function on several real local ranks, and say of each that fails why, or where it stands."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Final

from pgregistry.errors import ConfigError, listing
from pgregistry.testing.ranks.functions import to_bytes
from pgregistry.testing.ranks.rank import LOCAL, Job, torchrun
from pgregistry.testing.ranks.server import Outcome

START: Final = """
import json, sys
descriptor, sys.path[:], preload = json.loads(sys.argv[1])
from pgregistry.testing.ranks.server import serve
serve(descriptor, preload)
"""


class RanksFailed(AssertionError):  # noqa: N818 - it reads as what happened
    """Some rank raised, died or did not come to an end; the text says which, and what it printed."""


class LocalRanks:
    """A server for local ranks, which imports torch once; best used with `with`.

    >>> import torch.distributed as dist
    >>> with LocalRanks() as ranks:
    ...     ranks.run(2, lambda: dist.get_rank() * 10)
    [0, 10]
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._jobs: Connection | None = None
        self._log: IO[bytes] | None = None

    def run(
        self,
        count: int,
        function: Callable[..., Any],
        *args: Any,
        world: bool = True,
        timeout: float = 60,
        grace: float = 10,
        env: Mapping[str, str] | None = None,
    ) -> list[Any]:
        """What a function answers on each of several ranks, which are processes of this machine.

        The function may be a lambda or be defined inside another; it goes to the ranks by value,
        so what it changes outside itself stays there. Everything has the environment, working
        directory and `sys.path` of this process.

        Args:
            count: How many ranks.
            function: Called on every rank.
            *args: Its arguments, the same on every rank.
            world: Whether the default process group (gloo) is there already. If not, the
                environment is that of torchrun, for `pgregistry.init`.
            timeout: How long all of it may take, in seconds.
            grace: How long the others may go on when a rank has failed, in seconds.
            env: More environment variables.

        Raises:
            RanksFailed: if a rank raises, dies or does not come to an end, with its traceback,
                its signal, or the stack where it stands.
            ConfigError: if the function cannot be sent to other processes.
        """
        __tracebackhide__ = True  # for pytest: what went wrong is on the ranks
        if count < 1:
            raise ConfigError(f"count = {count!r}: there must be at least one rank.")
        environ = {**LOCAL, **os.environ, **torchrun(count), **(env or {})}
        path = tuple(map(os.path.abspath, sys.path))
        function_and_args = to_bytes(function, args)
        return _answers(self._ask(Job(count, function_and_args, world, timeout, grace, environ, os.getcwd(), path)))

    def close(self) -> None:
        """End the server and whatever runs in it; a second call does nothing."""
        if self._jobs is not None:
            self._jobs.close()  # a server that is idle or waits for ranks ends by itself
        if self._server is not None:
            try:
                self._server.wait(5)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        if self._log is not None:
            self._log.close()
        self._server = self._jobs = self._log = None

    def __enter__(self) -> LocalRanks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, job: Job) -> list[Outcome]:
        try:
            jobs = self._jobs or self._start()
            jobs.send(job)
            outcomes: list[Outcome] = jobs.recv()
        except (EOFError, OSError):
            said = self._said()
            self.close()
            raise RanksFailed(f"The server that ranks are forked from has ended.\n{said}") from None
        except BaseException:  # a time limit of the test, or Ctrl-C: what still runs is nobody's
            self.close()
            raise
        return outcomes

    def _start(self) -> Connection:
        self._jobs, theirs = Pipe()
        self._log = TemporaryFile()  # noqa: SIM115 - as long as the server
        preload = ["pgregistry.runtime.initialize", "pgregistry.runtime.verify", *({"pytest"} & set(sys.modules))]
        given = json.dumps([theirs.fileno(), list(map(os.path.abspath, sys.path)), preload])
        self._server = subprocess.Popen(
            [sys.executable, "-c", START, given],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for this process, which ends the server
        )
        theirs.close()
        return self._jobs

    def _said(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


def run_ranks(
    count: int,
    function: Callable[..., Any],
    *args: Any,
    world: bool = True,
    timeout: float = 60,
    grace: float = 10,
    env: Mapping[str, str] | None = None,
) -> list[Any]:
    """`LocalRanks.run` with a server for this call alone; the pytest fixture keeps one for all tests.

    >>> import torch.distributed as dist
    >>> run_ranks(2, lambda word: word + str(dist.get_rank()), "rank ")
    ['rank 0', 'rank 1']
    """
    __tracebackhide__ = True
    with LocalRanks() as ranks:
        return ranks.run(count, function, *args, world=world, timeout=timeout, grace=grace, env=env)


def _answers(outcomes: list[Outcome]) -> list[Any]:
    """The answers by rank, or one error with all that went wrong, in the order in which it did."""
    __tracebackhide__ = True
    wrong = [outcome for outcome in outcomes if outcome.wrong is not None]
    if wrong:
        told: dict[str, list[int]] = {}  # ranks that say the same are told together
        for outcome in wrong:
            told.setdefault(_told(outcome), []).append(outcome.rank)
        blocks = (f"rank{'s' * (len(ranks) > 1)} {listing(sorted(ranks))}:\n{text}" for text, ranks in told.items())
        raise RanksFailed("\n".join([f"{len(wrong)} of {len(outcomes)} ranks failed.", *blocks]))
    ordered = sorted(outcomes, key=lambda outcome: outcome.rank)
    for outcome in ordered:
        for line in outcome.printed.splitlines():
            print(f"rank {outcome.rank}: {line}")  # pytest shows it where the test fails
    return [pickle.loads(outcome.answer) for outcome in ordered]


def _told(outcome: Outcome) -> str:
    printed = f"\nprinted:\n{outcome.printed.rstrip()}" if outcome.printed.strip() else ""
    return f"{(outcome.wrong or '').rstrip()}{printed}"
