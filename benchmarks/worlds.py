"""Ranks that wait for a start signal, stores that count or are slow, and peers, for benchmarks of building."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partialmethod
from importlib import import_module
from importlib.metadata import entry_points
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

#: The modes of the origin in the order of its initializers, one after the other.
SIX = ("data", "model", "tensor", "zero1", "nettest", "pipe")
#: The families that a mesh of three dimensions has.
THREE = ("data", "pipe", "tensor")
BARRIER = {"TORCH_DIST_INIT_BARRIER": "1"}
FEW_CALLS = {"GLOO_ENABLE_STORE_V2_API": "1", "GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER": "1"}
WHEN_USED = {"TORCH_GLOO_LAZY_INIT": "1"}
#: What the fork server imports, so that no rank does; what is not installed is left out.
IMPORTED = (
    *("torch", "measure", "worlds", "megatron.core.parallel_state", "pgregistry.runtime.initialize"),
    *(point.module for point in entry_points(group="pgregistry")),
)


def sizes(world: int) -> dict[str, int]:
    """Return sizes whose six modes all have groups of their own: none equals another, so no two can be shared."""
    return {"tensor": 2, "pipe": 2, "zero1": max(world // 8, 1), "nettest": 3}


# Ranks.


@dataclass(frozen=True)
class Ran:
    """The results of ranks, and when they were started (`time.monotonic`, one clock for all processes)."""

    begun: float
    answers: list[Any] = field(repr=False)


def run_ranks(
    count: int,
    function: Callable[..., Any],
    *arguments: Any,
    environ: Mapping[str, str] | None = None,
    imported: Sequence[str] = (),
) -> Ran:
    """Return what a function returns on each rank.

    Ranks are forked from a server that has imported torch and holds no store. They start when all
    of them are there, and stay until all are done. This process hosts the store, as torchrun's
    agent does.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # which the fork server does not take from here otherwise
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ["RES_OPTIONS"] = "attempts:0"  # torch looks up the name of each peer, which can take 5 s without DNS
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED, *imported])
    agent = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(agent.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        **(environ or {}),
    }
    ranks, pipes = [], []
    for rank in range(count):
        ours, theirs = context.Pipe()
        place = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = context.Process(target=_rank, args=(theirs, place, function, arguments), daemon=True)
        process.start()
        theirs.close()
        ranks.append(process)
        pipes.append(ours)
    try:
        for pipe in pipes:
            pipe.recv()
        begun = time.monotonic()
        for pipe in pipes:
            pipe.send("start")
        answers = [_answer(rank, pipe) for rank, pipe in enumerate(pipes)]
        for pipe in pipes:
            pipe.send("stop")
        for process in ranks:
            process.join(5)
    finally:
        for process in ranks:
            process.kill()
    return Ran(begun, answers)


def _answer(rank: int, pipe: Any, seconds: float = 300) -> Any:
    if not wait([pipe], seconds):
        raise SystemExit(f"rank {rank} does not answer within {seconds} s")
    good, answer = pipe.recv()
    if not good:
        raise SystemExit(f"rank {rank}:\n{answer}")
    return answer


def _rank(pipe: Any, place: Mapping[str, str], function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    os.environ.update(place)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)  # gloo and Megatron-Core have much to say
    # Copying the pages that a fork shares with its server would cost more than all that is measured. This writes to
    # all objects, so that a rank has them to itself, as a process that imported torch has.
    gc.collect()
    pipe.send("here")
    pipe.recv()
    try:
        pipe.send((True, function(*arguments)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
    pipe.recv()
    os._exit(0)  # leave no thread of a process group to wait for


def private_mib() -> float:
    """Return the memory that this process shares with no other, in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


# Stores.


class Watched(dist.Store):
    """A store that counts the calls of this rank, and may take its time for each of them."""

    def __init__(self, store: Any) -> None:
        super().__init__()
        self._inner = store
        self.latency = 0.0
        self.reset()

    def reset(self, latency: float = 0.0) -> None:
        """Count from zero; from now on, each call takes this many seconds more, one-way calls too."""
        self.calls, self.first, self.latency = 0, 0.0, latency

    def _call(self, name: str, *arguments: Any) -> Any:
        self.calls += 1
        self.first = self.first or time.monotonic()
        if self.latency:
            time.sleep(self.latency)
        # torch tells a Python store how long to wait by setting `timeout` on it alone
        self._inner.set_timeout(self.timeout)
        return getattr(self._inner, name)(*arguments)

    def has_extended_api(self) -> bool:
        """Return whether there are `append`, `multi_get` and `multi_set`."""
        return True

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait as torch's store does, with the timeout that torch set if none is given."""
        self._call("wait", keys, self.timeout if timeout is None else timeout)

    set = partialmethod(_call, "set")
    get = partialmethod(_call, "get")
    add = partialmethod(_call, "add")
    append = partialmethod(_call, "append")
    check = partialmethod(_call, "check")
    compare_set = partialmethod(_call, "compare_set")
    multi_get = partialmethod(_call, "multi_get")
    multi_set = partialmethod(_call, "multi_set")


def watched_world() -> Watched:
    """Join a world of all ranks over a watched store, ready for the first measured call."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = Watched(dist.TCPStore(address, port, is_master=False, wait_for_workers=False))
    os.environ.update(FEW_CALLS)  # only to be there sooner
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    for name in FEW_CALLS:
        del os.environ[name]
    return store


def together() -> float:
    """Wait for all ranks, and return the time then."""
    dist.barrier()
    return time.monotonic()


@dataclass
class Phases:
    """When, and after how many store calls, this rank began and ended to build within `init`."""

    times: list[float] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    @staticmethod
    def watch(store: Watched) -> Phases:
        """Record when `pgregistry.init` builds."""
        from pgregistry.runtime import initialize as start

        build, phases = start.build, Phases()

        def note() -> None:
            phases.times.append(time.monotonic())
            phases.calls.append(store.calls)

        def noted(*arguments: Any, **keywords: Any) -> Any:
            note()
            try:
                return build(*arguments, **keywords)
            finally:
                note()

        start.build = noted
        return phases


# What is compared. Each answers the process groups of this rank, in an order that all ranks share.


def ours(world: int, modes: Iterable[str] | None = None, extra: Sequence[Any] = ()) -> list[Any]:
    import pgregistry

    only = None if modes is None else list(modes)
    wanted = {name: size for name, size in sizes(world).items() if only is None or name in (*only, "tensor", "pipe")}
    context = pgregistry.init(only=only, extra=extra, **wanted)
    kept.append(context)
    return [handle.group for name in context.plan.modes if (handle := context.get(name))]


def loop(world: int) -> list[Any]:
    """Build as the origin does: every rank calls new_group for every group of every mode."""
    groups, rank = _origin().groups(world, **sizes(world)), dist.get_rank()
    mine = []
    for mode in SIX:
        for ranks in groups[mode]:
            group = dist.new_group(ranks)
            if rank in ranks:
                mine.append(group)
    return mine


def mesh(world: int) -> list[Any]:
    """Build what people write: a mesh of three dimensions."""
    made = init_device_mesh("cpu", (world // 4, 2, 2), mesh_dim_names=THREE)
    kept.append(made)
    return list(made.get_all_groups())


def mesh_of_five(world: int) -> list[Any]:
    """Build the families of the modes without nettest, whose threes no mesh can have."""
    zero1 = sizes(world)["zero1"]
    names = ("replicate", "zero1", "pipe", "tensor")
    made = init_device_mesh("cpu", (world // 4 // zero1, zero1, 2, 2), mesh_dim_names=names)
    data, model = made["replicate", "zero1"]._flatten("data"), made["pipe", "tensor"]._flatten("model")
    kept.append(made)
    return [*made.get_all_groups(), data.get_group(), model.get_group()]


kept: list[Any] = []


def prove(groups: Iterable[Any]) -> None:
    """Run one all_gather in each group, which shows its members."""
    mine = torch.tensor([dist.get_rank()])
    for group in groups:
        ranks = dist.get_process_group_ranks(group)
        there = [torch.empty_like(mine) for _ in ranks]
        dist.all_gather(there, mine, group=group)
        if [int(one) for one in there] != ranks:
            raise SystemExit(f"{ranks} are {there}")


def _origin() -> Any:
    """Return the oracle of the tests: the origin's groups, typed from its loops."""
    if "origin" not in sys.modules:
        sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
    return import_module("origin")
