"""Time collectives in one process group."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from pgregistry_nettest.analysis.measurements import Sample, count
from pgregistry_nettest.options import Options

#: Their names since torch 2.13, or the older ones.
_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def time_collective(op: str, size: int, group: dist.ProcessGroup, ranks: Sequence[int], options: Options) -> Sample:
    """Time a collective of `size` bytes in a process group of these ranks."""
    device, members, position = device_of(group), len(ranks), ranks.index(dist.get_rank())
    elements = count(op, size, members)
    sent = torch.zeros(elements * (members if op in ("reduce_scatter", "all_to_all") else 1), device=device)
    received = torch.empty(elements * (members if op in ("all_gather", "all_to_all") else 1), device=device)
    following, previous = ranks[(position + 1) % members], ranks[position - 1]
    calls: dict[str, Callable[[], object]] = {
        "all_reduce": lambda: dist.all_reduce(sent, group=group),
        "all_gather": lambda: _gather(received, sent, group=group),
        "reduce_scatter": lambda: _scatter(received, sent, group=group),
        "broadcast": lambda: dist.broadcast(sent, src=ranks[0], group=group),
        "all_to_all": lambda: dist.all_to_all_single(received, sent, group=group),
        "send_recv": lambda: _exchange(sent, received, following, previous, group, options.timeout),
    }
    return _sample(op, size, calls[op], device, options)


def time_exchange(size: int, partner: int, group: dist.ProcessGroup, options: Options) -> Sample:
    """Time how long it takes to send `size` bytes to a partner and to receive as many from it at the same time."""
    device = device_of(group)
    sent, received = (torch.zeros(count("send_recv", size, 2), device=device) for _ in range(2))
    call = lambda: _exchange(sent, received, partner, partner, group, options.timeout)  # noqa: E731
    return _sample("send_recv", size, call, device, options)


def _exchange(
    sent: torch.Tensor, received: torch.Tensor, to: int, source: int, group: dist.ProcessGroup, timeout: float
) -> None:
    both = [dist.P2POp(dist.isend, sent, to, group), dist.P2POp(dist.irecv, received, source, group)]
    for work in dist.batch_isend_irecv(both):
        work.wait(timedelta(seconds=timeout))


def _sample(op: str, size: int, call: Callable[[], object], device: torch.device, options: Options) -> Sample:
    """Return the median time of a call and the median distance from it, or why it failed."""
    times = []
    try:
        for number in range(options.warmup + options.calls(size)):
            begun = time.perf_counter()
            call()
            if device.type != "cpu":
                torch.accelerator.synchronize()
            if number >= options.warmup:
                times.append(time.perf_counter() - begun)
    except RuntimeError as error:
        return Sample(op, size, None, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    middle = median(times)
    return Sample(op, size, middle, median(abs(one - middle) for one in times))


def device_of(group: dist.ProcessGroup) -> torch.device:
    """Return the accelerator if the process group takes tensors on it, else the CPU."""
    if torch.accelerator.is_available() and dist.get_backend(group) not in ("gloo", "mpi"):
        accelerator = torch.accelerator.current_accelerator()
        if accelerator is not None and f"{accelerator.type}:" in str(dist.get_backend_config(group)):
            return torch.device(accelerator.type, torch.accelerator.current_device_index())
    return torch.device("cpu")
