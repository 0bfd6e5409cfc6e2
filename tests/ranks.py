"""Run a function on several real ranks: `run_ranks(4, function)`.

Processes come from multiprocessing's fork server, which has imported torch once and holds no
store: forking the test process itself, which has threads, could deadlock.
"""

import faulthandler
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def run_ranks(
    count: int, function: Callable[..., Any], *args: Any, world: bool = True, timeout: float = 60, env: Any = None
) -> list[Any]:
    """What the function returned on each rank; fails with the rank and traceback of any error, or of a hang.

    With `world`, the default process group exists already (gloo, over a file); without, the
    environment is that of torchrun.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pgregistry.start", "pgregistry.proof"])
    with TemporaryDirectory() as folder:
        shared = {**_environment(count), **(env or {})}
        pipes: dict[int, Connection] = {}
        ranks = []
        for rank in range(count):
            pipes[rank], theirs = context.Pipe()
            place = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = context.Process(
                target=_rank, args=(theirs, Path(folder), place, world, timeout, function, args), daemon=True
            )
            process.start()
            theirs.close()
            ranks.append(process)
        answers = {rank: _answer(rank, pipes[rank], ranks[rank], Path(folder), timeout) for rank in range(count)}
        for process in ranks:
            process.join(5)
            process.kill()
    failed = [f"rank {rank}:\n{text}" for rank, (good, text) in sorted(answers.items()) if not good]
    assert not failed, "\n".join(failed)
    return [answers[rank][1] for rank in range(count)]


def _environment(count: int) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = str(count)
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    return {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, **where}


def _answer(rank: int, pipe: Connection, process: Any, folder: Path, timeout: float) -> tuple[bool, Any]:
    if wait([pipe], timeout + 5):
        try:
            return pipe.recv()
        except EOFError:
            process.join(5)
    stack = folder / f"stack{rank}"
    where = stack.read_text() if stack.exists() else ""
    return False, f"ended with {process.exitcode} and no answer (None: it hangs)\n{where}"


def _rank(
    pipe: Connection,
    folder: Path,
    place: dict[str, str],
    world: bool,
    timeout: float,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    import torch

    torch.set_num_threads(1)
    rank = int(place["RANK"])
    sys.stdout = sys.stderr = open(folder / f"out{rank}", "w")  # noqa: SIM115 - it lives as long as the process
    faulthandler.dump_traceback_later(timeout, exit=True, file=open(folder / f"stack{rank}", "w"))  # noqa: SIM115
    os.environ.update(place)
    try:
        if world:
            store = torch.distributed.FileStore(str(folder / "store"), int(place["WORLD_SIZE"]))
            torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=int(place["WORLD_SIZE"]))
        pipe.send((True, function(*args)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
    os._exit(0)  # leave no thread of a process group to wait for
