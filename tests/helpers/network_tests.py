"""Helpers of tests of the network test: ranks that are slow, and a small report."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch.distributed as dist
from pgregistry_nettest.analysis.measurements import Measurement
from pgregistry_nettest.analysis.report import Finding, Host, Report

KIB = 1 << 10


def before_each_collective(call: Callable[[], None]) -> None:
    """Have this rank do something before each collective that a test times."""
    all_reduce, batch = dist.all_reduce, dist.batch_isend_irecv
    dist.all_reduce = lambda *args, **kwargs: (call(), all_reduce(*args, **kwargs))[1]
    dist.batch_isend_irecv = lambda ops: (call(), batch(ops))[1]


def pause_if(mine: bool, seconds: float) -> None:
    if mine:
        before_each_collective(lambda: time.sleep(seconds))


REPORT = Report(
    hosts=(Host("a", (0, 1)), Host("b", (2, 3))),
    partitions=(((0, 1),),),
    measurements=(
        Measurement(0, "all_reduce", KIB, 256, (0, 2), 0.5, 0.1),
        Measurement(0, "all_reduce", KIB, 256, (1, 3), None, 0.0, "RuntimeError: gone"),
    ),
    findings=(Finding("slow link", (0, 1), (1, 3), None, ("it failed",)),),
    notes=("a note",),
    slow=1,
    backend="gloo",
    device="cpu",
    seconds=1.5,
)
