"""One local rank: the job that the server gives it, and the call that it makes."""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGINT, SIGUSR1, default_int_handler, signal
from typing import Any, Final, NoReturn

#: The signal at which a rank writes its stack into a file.
STACK: Final = SIGUSR1


@dataclass(frozen=True, slots=True)
class Job:
    """A call to make on every rank of a group of local ranks.

    Attributes:
        count: Number of ranks.
        call: The pickled function and its arguments.
        world: Start the default process group before the call.
        timeout: Seconds for the whole job.
        grace: Seconds that the other ranks may go on after one has failed.
        environ, folder, path: The environment, working directory and `sys.path` of the process that sent the job.
    """

    count: int
    call: bytes
    world: bool
    timeout: float
    grace: float
    environ: Mapping[str, str]
    folder: str
    path: tuple[str, ...]


def live(rank: int, job: Job, pipe: Connection, files: Path) -> NoReturn:
    """Make the call of a job on one rank, send the outcome, and end when all ranks are done."""
    _redirect(files / f"out{rank}")
    signal(SIGINT, default_int_handler)  # a shell ignores it for what it starts in the background
    faulthandler.register(STACK, file=open(files / f"stack{rank}", "w"))  # noqa: SIM115 - as long as the process
    faulthandler.dump_traceback_later(job.timeout + 60, exit=True)  # in case the server is gone
    os.environ.clear()
    os.environ.update({**job.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)})
    try:
        os.chdir(job.folder)
        sys.path[:] = job.path
        function, args = pickle.loads(job.call)
        if job.world:
            _start_world(rank, job.count, files)
        pipe.send(("ready", b""))
        pipe.recv()
        answer = function(*args)
    except BaseException as error:
        frames = error.__traceback__ and error.__traceback__.tb_next  # without the frame of this function
        _end(pipe, "failure", "".join(traceback.format_exception(error.with_traceback(frames))))
    try:
        from pgregistry.testing.ranks.pickling import pickled

        content = pickled(answer)
    except Exception as error:
        _end(pipe, "failure", f"returned {answer!r:.200}, which cannot be sent back: {error}")
    _end(pipe, "answer", content)


def _redirect(out: Path) -> None:
    """Write into a file whatever this process prints, from Python or not."""
    with open(out, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def _start_world(rank: int, count: int, files: Path) -> None:
    import torch
    from torch.distributed import FileStore  # type: ignore[attr-defined]  # torch documents it

    store = FileStore(str(files / "store"), count)  # needs no port and no name look-up
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=count)


def _end(pipe: Connection, kind: str, content: Any) -> NoReturn:
    sys.stdout.flush()
    pipe.send((kind, content))
    if kind == "answer" and pipe.poll(None):  # until all are done: some may still need the store of this rank
        os._exit(0)
    os._exit(1)  # without waiting for a thread of a process group
