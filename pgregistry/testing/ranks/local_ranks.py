"""Run a function on several real local ranks, and report of each rank that fails why, or where it stands."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from tempfile import TemporaryFile
from typing import IO, Any, Final

from pgregistry.errors import ConfigError, format_ranks, need
from pgregistry.testing.ranks.rank import Job
from pgregistry.testing.ranks.server import Outcome

START: Final = """
import json, sys
descriptor, sys.path[:], preload = json.loads(sys.argv[1])
from pgregistry.testing.ranks.server import serve
serve(descriptor, preload)
"""
PRELOAD: Final = ("pgregistry.runtime.initialize", "pgregistry.testing.ranks.pickling")
#: What local ranks do not work without.
NEEDED: Final = ("torch", "cloudpickle")
#: Variables that gloo and torch need on one machine, unless the caller sets them. torch looks up the name of each
#: peer, which takes 5 s without a name server.
LOCAL: Final = {"RES_OPTIONS": "attempts:0"} | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


class RanksFailed(AssertionError):  # noqa: N818 - it reads as what happened
    """A rank raised, died or did not end; the text names it and shows what it printed."""


class LocalRanks:
    """A process that imports torch once and that local ranks are forked from; best used with `with`.

    >>> import torch.distributed as dist
    >>> with LocalRanks() as ranks:
    ...     ranks.run(2, lambda: dist.get_rank() * 10)
    [0, 10]

    Args:
        preload: Modules that the ranks need and that take long to import. They are imported once.
    """

    def __init__(self, *, preload: Sequence[str] = ()) -> None:
        self._preload = tuple(preload)
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
        """Call a function on each of several ranks, which are processes of this machine, and return what it returned.

        The function may be a lambda or be defined inside another function. It is sent by value, so what it
        changes outside itself does not change here. The ranks have the environment, working directory and
        `sys.path` of this process. They make the call at the same time, when all are ready for it.

        Args:
            count: Number of ranks.
            function: Called on every rank.
            *args: Its arguments, the same on every rank.
            world: Start the default process group (gloo) before the call. Without it, the environment is that
                of torchrun, for `pgregistry.init`.
            timeout: Seconds for the whole run.
            grace: Seconds that the other ranks may go on after one has failed.
            env: More environment variables.

        Returns:
            The return values, by rank.

        Raises:
            RanksFailed: if a rank raises, dies or does not end, with its traceback, its signal, or the
                stack where it stands.
            ConfigError: if `count` is below 1, the function cannot be sent to other processes, or torch or
                cloudpickle is not installed.
        """
        __tracebackhide__ = True  # for pytest: the ranks have the traceback that matters
        if count < 1:
            raise ConfigError(f"count = {count!r} must be a whole number from 1.")
        need("Starting local ranks", *NEEDED, starts_python=True)
        from pgregistry.testing.ranks.pickling import pickled_call

        environ = {**LOCAL, **os.environ, **_torchrun(count), **(env or {})}
        path = tuple(map(os.path.abspath, sys.path))
        call = pickled_call(function, args)
        return _answers(self._send(Job(count, call, world, timeout, grace, environ, os.getcwd(), path)))

    def close(self) -> None:
        """End the server and all of its ranks; a second call does nothing."""
        if self._jobs is not None:
            self._jobs.close()  # a server that is idle or waits for ranks then ends by itself
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, job: Job) -> list[Outcome]:
        try:
            jobs = self._jobs or self._start()
            jobs.send(job)
            outcomes: list[Outcome] = jobs.recv()
        except (EOFError, OSError):
            printed = self._printed()
            self.close()
            raise RanksFailed(f"The server that ranks are forked from has ended.\n{printed}") from None
        except BaseException:  # a time limit of the test, or Ctrl-C: leave no rank behind
            self.close()
            raise
        return outcomes

    def _start(self) -> Connection:
        self._jobs, theirs = Pipe()
        self._log = TemporaryFile()  # noqa: SIM115 - as long as the server
        preload = [*PRELOAD, *self._preload, *({"pytest"} & set(sys.modules))]
        given = json.dumps([theirs.fileno(), list(map(os.path.abspath, sys.path)), preload])
        self._server = subprocess.Popen(
            [sys.executable, "-c", START, given],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C goes to this process, which ends the server
        )
        theirs.close()
        return self._jobs

    def _printed(self) -> str:
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
    """Call `LocalRanks.run` with a server for this call alone; the pytest fixture keeps one for all tests.

    >>> import torch.distributed as dist
    >>> run_ranks(2, lambda word: word + str(dist.get_rank()), "rank ")
    ['rank 0', 'rank 1']
    """
    __tracebackhide__ = True
    with LocalRanks() as ranks:
        return ranks.run(count, function, *args, world=world, timeout=timeout, grace=grace, env=env)


def _torchrun(count: int) -> dict[str, str]:
    """Return the variables that torchrun sets alike on every rank of one machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = str(count)
    return {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _answers(outcomes: list[Outcome]) -> list[Any]:
    """Return the answers by rank.

    Raises:
        RanksFailed: with all failures, in the order in which they happened.
    """
    __tracebackhide__ = True
    failed: dict[str, list[int]] = {}  # ranks with the same text are reported together
    for outcome in outcomes:
        if outcome.failure is not None:
            printed = f"\nprinted:\n{outcome.printed.rstrip()}" if outcome.printed.strip() else ""
            failed.setdefault(f"{outcome.failure.rstrip()}{printed}", []).append(outcome.rank)
    if failed:
        blocks = (f"{format_ranks(ranks)}:\n{text}" for text, ranks in failed.items())
        raise RanksFailed("\n".join([f"{sum(map(len, failed.values()))} of {len(outcomes)} ranks failed.", *blocks]))
    ordered = sorted(outcomes, key=lambda outcome: outcome.rank)
    for outcome in ordered:
        for line in outcome.printed.splitlines():
            print(f"rank {outcome.rank}: {line}")  # pytest shows it if the test fails
    return [pickle.loads(outcome.answer) for outcome in ordered]
