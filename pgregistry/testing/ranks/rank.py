"""One local rank, from its fork to its end."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NoReturn

from pgregistry.testing.ranks.functions import from_bytes

#: The signal at which a rank writes down where it stands.
WHERE: Final = signal.SIGUSR1


@dataclass(frozen=True, slots=True)
class Job:
    """A function to run on local ranks, and the place of who asks.

    Attributes:
        count: How many ranks.
        function: From `to_bytes`.
        world: Whether the default process group is there before the function is called.
        timeout: In seconds.
        grace: How long the others may go on when one has failed, in seconds.
        environ, folder, path: The environment, working directory and `sys.path` of who asks.
    """

    count: int
    function: bytes
    world: bool
    timeout: float
    grace: float
    environ: Mapping[str, str]
    folder: str
    path: tuple[str, ...]


#: What ranks on one machine need of gloo and torch, unless who asks says otherwise.
LOCAL: Final = {
    "RES_OPTIONS": "attempts:0",  # torch looks up the name of its peer, which takes 5 s where nobody knows it
    **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
}


def torchrun(count: int) -> dict[str, str]:
    """What torchrun would set on this machine, for every rank alike."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def live(rank: int, job: Job, pipe: Connection, files: Path) -> None:
    """Run the function of a job, send what it answers, and end when all ranks are done."""
    _redirect(files / f"out{rank}")
    faulthandler.register(WHERE, file=open(files / f"stack{rank}", "w"))  # noqa: SIM115 - as long as the process
    faulthandler.dump_traceback_later(job.timeout + 60, exit=True)  # should the server be gone
    os.environ.clear()
    os.environ.update({**job.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)})
    try:
        os.chdir(job.folder)
        sys.path[:] = job.path
        function, args = from_bytes(job.function)
        if job.world:
            _start_world(rank, job.count, files)
        answer = function(*args)
    except BaseException as error:
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next  # without this frame
        _end(pipe, good=False, answer="".join(traceback.format_exception(error)))
    try:
        _end(pipe, good=True, answer=pickle.dumps(answer))
    except Exception as error:
        text = f"answered {answer!r:.200}, which cannot be sent back: {error}"
        _end(pipe, good=False, answer=text)


def _redirect(out: Path) -> None:
    """What this process prints, Python or not, goes to a file."""
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


def _end(pipe: Connection, *, good: bool, answer: bytes | str) -> NoReturn:
    sys.stdout.flush()
    pipe.send((good, answer))
    if good and pipe.poll(None):  # at the end of all: some may still need the store that this one hosts
        os._exit(0)
    os._exit(1)  # and leave no thread of a process group to wait for
