"""Runs in which a rank does what it should not, and what the watch of each rank then says.

All ranks are forked from a process that has imported torch, and killed when the watch has spoken, stopped ones too.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pgregistry

#: Seconds after which the watch speaks; torch gives up much later.
WATCH: Final = 1.0
TIMEOUT: Final = 60.0
MODES: Final = ["global", "tensor", "data"]


@dataclass(frozen=True)
class Fault:
    """The deed of the odd ranks.

    Attributes:
        kind: The kind that each named rank may have.
        odd: Returns the odd ranks of a world, given the one that is asked for.
        stopped: Whether they can say nothing.
    """

    kind: frozenset[str]
    odd: Callable[[int, int], tuple[int, ...]] = lambda _, one: (one,)
    stopped: bool = False
    watch: dict[str, Any] = field(default_factory=dict)


def _kinds(*kinds: str) -> frozenset[str]:
    return frozenset(kinds)


FAULTS: Final = {
    "sleeps": Fault(_kinds("process")),
    "dead lock in Python": Fault(_kinds("process")),
    "swallows an exception": Fault(_kinds("deadlock", "process", "mismatch")),
    "endless loop": Fault(_kinds("process")),
    "SIGSTOP": Fault(_kinds("absent"), stopped=True),
    "kill -9": Fault(_kinds("absent"), stopped=True),
    "holds the GIL in C": Fault(_kinds("absent"), stopped=True),
    "another collective": Fault(_kinds("mismatch")),
    "other sizes": Fault(_kinds("mismatch")),
    "another group": Fault(_kinds("deadlock")),
    "another order": Fault(_kinds("deadlock")),
    "recv without send": Fault(_kinds("deadlock", "process")),
    "send without recv": Fault(_kinds("deadlock", "process")),
    "two at once": Fault(_kinds("process", "absent"), lambda size, one: (one, (one + size // 2) % size)),
    "slow": Fault(_kinds("process")),
}


def astray(fault: str, context: Any, odd: Sequence[int]) -> None:
    """Do what an odd rank does in place of a collective of all ranks."""
    import torch
    import torch.distributed as dist

    world, data = context.group("global"), context.group("data")
    match fault:
        case "sleeps":
            time.sleep(TIMEOUT)
        case "dead lock in Python":
            lock = threading.Lock()
            for _ in range(2):
                lock.acquire()
        case "endless loop":
            until = time.monotonic() + TIMEOUT
            while time.monotonic() < until:
                pass
        case "SIGSTOP":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "kill -9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "holds the GIL in C":
            ctypes.PyDLL(None).sleep(int(TIMEOUT))
        case "another collective":
            dist.all_gather([torch.ones(4) for _ in context["global"].ranks], torch.ones(4), group=world)
        case "other sizes":
            dist.all_reduce(torch.ones(8), group=world)
        case "another group":
            dist.all_reduce(torch.ones(4), group=data)
        case "recv without send":
            dist.recv(torch.ones(4), context["tensor"].next)
        case "send without recv":
            dist.send(torch.ones(1 << 22), context["tensor"].next)
        case "two at once":
            time.sleep(TIMEOUT) if context.rank == odd[0] else os.kill(os.getpid(), signal.SIGSTOP)
        case "slow":
            time.sleep(2.5 * WATCH)


def train(fault: str, odd: Sequence[int], folder: str) -> None:
    """Train a little, go astray on the odd ranks, and wait; the log of the watch is in the folder."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    logging.getLogger("pgregistry.watch").addHandler(Lines(Path(folder, os.environ["RANK"])))
    with pgregistry.init(tensor=2, timeout=TIMEOUT, only=MODES, watch=WATCH, watch_dir=folder + "/records") as context:
        world, tensor, data = (context.group(name) for name in MODES)

        def step() -> None:
            for group in (tensor, data, world):
                dist.all_reduce(torch.ones(4), group=group)

        step()
        step()
        Path(folder, f"{context.rank}.begun").write_text(str(time.time()), encoding="utf-8")
        if context.rank in odd and fault == "another order":  # a cycle with those that wait in the first two
            dist.all_reduce(torch.ones(4), group=world)
        for group in (tensor, data):
            dist.all_reduce(torch.ones(4), group=group)
        if context.rank in odd:
            astray(fault, context, odd)
        if context.rank not in odd or fault in ("slow", "another group"):
            dist.all_reduce(torch.ones(4), group=world)
        for _ in range(20):
            step()
        time.sleep(TIMEOUT)


def healthy(pauses: int, folder: str) -> None:
    """Train with random pauses below the time of the watch."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    draw = random.Random(f"{pauses} {os.environ['RANK']}")
    logging.getLogger("pgregistry.watch").addHandler(Lines(Path(folder, os.environ["RANK"])))
    with pgregistry.init(tensor=2, timeout=TIMEOUT, only=MODES, watch=WATCH) as context:
        for _ in range(4):
            for mode in MODES:
                time.sleep(draw.choice([0, 0, draw.uniform(0, 0.2 * WATCH)]))
                dist.all_reduce(torch.ones(4), group=context.group(mode))
    Path(folder, f"{os.environ['RANK']}.done").touch()


class Lines(logging.Handler):
    """A log as a file of JSON lines: when, the level, the text."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([time.time(), record.levelname, record.getMessage()]) + "\n")


def watched_run(size: int, function: Callable[..., None], *args: Any, folder: str, enough: Callable[[], bool]) -> None:
    """Fork ranks that call a function, and kill them when it is enough."""
    Path(folder).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    children = []
    for rank in range(size):
        child = os.fork()
        if not child:
            try:
                os.environ.update(
                    RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size)
                )
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
                function(*args, folder)
                os._exit(0)
            except BaseException as error:
                Path(folder, f"{rank}.error").write_text(repr(error), encoding="utf-8")
                time.sleep(TIMEOUT)  # a job with such a rank goes on: its exception was swallowed
            finally:
                os._exit(1)
        children.append(child)
    try:
        while not enough():
            time.sleep(0.05)
    finally:
        for child in reversed(children):  # the one that hosts the store last
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def said(folder: str, rank: int) -> list[tuple[float, str, str]]:
    """Return what the watch of a rank has said."""
    path = Path(folder, str(rank))
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]


def named(text: str) -> dict[int, str]:
    """Return the ranks that a text names as culprits, with their kinds."""
    if found := re.match(r"The store does not answer, which rank (\d+) hosts", text):
        return {int(found[1]): "absent"}
    return {int(rank): kind for rank, kind in re.findall(r"^Rank (\d+) holds up the run \((\w+)\)", text, re.MULTILINE)}


def run_fault(fault: str, size: int, one: int, folder: str) -> dict[str, Any]:
    """Return what the watch said, and how long after the fault, in a run with one fault."""
    given = FAULTS[fault]
    odd = given.odd(size, one)
    able = [rank for rank in range(size) if not (given.stopped and rank in odd)]
    if fault == "two at once":
        able.remove(odd[1])
    until = time.monotonic() + WATCH + 20

    def enough() -> bool:
        needed = 2 if fault == "slow" else 1
        waiting = [rank for rank in able if not Path(folder, f"{rank}.error").exists()]
        return time.monotonic() > until or all(len(said(folder, rank)) >= needed for rank in waiting)

    watched_run(size, train, fault, odd, folder=folder, enough=enough)
    begun = [float(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*.begun")]
    texts = {rank: [text for _, _, text in said(folder, rank)] for rank in able}
    times = [lines[0][0] for rank in able if (lines := said(folder, rank))]
    texts = {rank: lines for rank, lines in texts.items() if lines or not Path(folder, f"{rank}.error").exists()}
    return {
        "fault": fault,
        "size": size,
        "odd": odd,
        "texts": texts,
        "seconds": max(times) - max(begun) if times and begun else None,
        "errors": {path.stem: path.read_text(encoding="utf-8")[:200] for path in Path(folder).glob("*.error")},
    }


def run_faults(cases: Sequence[tuple[str, int, int]], folder: str) -> list[dict[str, Any]]:
    """Return the outcome of several faults, one after another."""
    return [run_fault(*case, f"{folder}/{number}") for number, case in enumerate(cases)]


def run_healthy(seeds: Sequence[int], size: int, folder: str) -> list[list[str]]:
    """Return what the watch of all ranks said in runs without a fault."""
    found = []
    for seed in seeds:
        path = f"{folder}/{seed}"
        until = time.monotonic() + 60

        def enough(path: str = path, until: float = until) -> bool:
            return time.monotonic() > until or len([*Path(path).glob("*.done")]) == size

        watched_run(size, healthy, seed, folder=path, enough=enough)
        done = len([*Path(path).glob("*.done")])
        found.append(
            [text for rank in range(size) for _, _, text in said(path, rank)] + [f"{done} ended"] * (done < size)
        )
    return found
