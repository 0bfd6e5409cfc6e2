"""Time collectives in one process group."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TypeAlias

import torch
import torch.distributed as dist

from pgregistry_nettest.collectives import calls, count

#: One timed call, until this rank is done with it.
Call: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one rank saw of one collective: its median time and its spread in seconds, or why it failed."""

    op: str
    size: int
    seconds: float | None
    spread: float = 0.0
    error: str | None = None


def timed(call: Call, iterations: int, warmup: int) -> tuple[float, float]:
    """The median seconds of a call, and the median distance from it."""
    for _ in range(warmup):
        call()
    times = []
    for _ in range(iterations):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    middle = median(times)
    return middle, median(abs(one - middle) for one in times)


def sample(op: str, size: int, call: Call, iterations: int, warmup: int) -> Sample:
    """Time a call; a failure is an answer too."""
    try:
        return Sample(op, size, *timed(call, calls(iterations, size), warmup))
    except RuntimeError as error:
        return Sample(op, size, None, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")


def collective(op: str, size: int, group: dist.ProcessGroup, ranks: Sequence[int], timeout: float) -> Call:
    """A call of one collective of so many bytes, over buffers that are made once."""
    device = device_of(group)
    numbers, members = count(op, size, len(ranks)), len(ranks)
    mine = torch.zeros(numbers * (members if op in ("reduce_scatter", "all_to_all") else 1), device=device)
    theirs = torch.empty(numbers * (members if op in ("all_gather", "all_to_all") else 1), device=device)
    place = ranks.index(dist.get_rank())
    calls: dict[str, Callable[[], object]] = {
        "all_reduce": lambda: dist.all_reduce(mine, group=group),
        "all_gather": lambda: dist.all_gather_single(theirs, mine, group=group),
        "reduce_scatter": lambda: dist.reduce_scatter_single(theirs, mine, group=group),
        "broadcast": lambda: dist.broadcast(mine, src=ranks[0], group=group),
        "all_to_all": lambda: dist.all_to_all_single(theirs, mine, group=group),
        "send_recv": lambda: _exchange(mine, theirs, ranks[(place + 1) % members], ranks[place - 1], group, timeout),
    }
    return _until_done(calls[op], device)


def exchange(size: int, partner: int, group: dist.ProcessGroup, timeout: float) -> Call:
    """A call that sends so many bytes to a partner and receives as many from it, at the same time."""
    device = device_of(group)
    mine, theirs = (torch.zeros(count("send_recv", size, 2), device=device) for _ in range(2))
    return _until_done(lambda: _exchange(mine, theirs, partner, partner, group, timeout), device)


def _exchange(
    mine: torch.Tensor, theirs: torch.Tensor, to: int, source: int, group: dist.ProcessGroup, timeout: float
) -> None:
    both = [dist.P2POp(dist.isend, mine, to, group), dist.P2POp(dist.irecv, theirs, source, group)]
    for work in dist.batch_isend_irecv(both):
        work.wait(timedelta(seconds=timeout))


def _until_done(call: Callable[[], object], device: torch.device) -> Call:
    def on_accelerator() -> None:
        call()
        torch.accelerator.synchronize()

    return on_accelerator if device.type != "cpu" else lambda: (call(), None)[1]


def device_of(group: dist.ProcessGroup) -> torch.device:
    """Where tensors of a group lie: on the accelerator, where the group takes them there."""
    devices = [pair.split(":")[0] for pair in str(dist.get_backend_config(group)).split(",")]
    if dist.get_backend(group) in ("gloo", "mpi") or set(devices) == {"cpu"}:
        return torch.device("cpu")
    kind = next(device for device in devices if device != "cpu")
    return torch.device(kind, torch.accelerator.current_device_index())
