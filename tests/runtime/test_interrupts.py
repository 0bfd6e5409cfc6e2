"""Ctrl-C at every moment of `init`: each call counts, so that the next ones of all ranks meet, and nothing stays."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any, Final

import pytest
import torch.distributed as dist
from interrupts import interrupted
from ranks import run_ranks
from torch.distributed import distributed_c10d as torch_state  # what is left is only there

import pgregistry
from pgregistry.coordination import agreement
from pgregistry.runtime import initialize

#: The file with the first and the last lines of `init`, and those that it calls first.
FIRST: Final = ("runtime/initialize.py",)
ALL: Final = (*FIRST, "runtime/attempt.py", "runtime/process.py", "settings/tracing.py", "contextlib.py")
#: Steps of those files before the first one that can be told to others, at most.
ENTERS: Final = 8


def free() -> bool:
    """Return whether another thread could call `init`."""
    found: list[bool] = []

    def look() -> None:
        found.append(initialize._RUNNING.acquire(blocking=False))
        if found[0]:
            initialize._RUNNING.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def at_every_step(files: tuple[str, ...], stride: int) -> tuple[int, list[tuple[int, str]]]:
    """Interrupt `init` at each step, or each so many; return how many there were, and what was wrong.

    It begins with the first step that counts the call: before that it only enters functions, and binds names.
    """
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    counts: Any = torch_state._get_default_store()
    agreement.LEAVE = 0  # nobody else reads why this rank stops
    wrong: list[tuple[int, str]] = []
    contexts: list[Any] = []
    begun = False

    def call() -> None:
        contexts.append(pgregistry.init(watch=0))

    for step in count(1, stride):
        before = counts.add("pgregistry/all/calls/0", 0)
        came = interrupted(call, step, files)
        counted = counts.add("pgregistry/all/calls/0", 0) - before
        begun = begun or counted > 0
        if counted != begun and (begun or step > ENTERS):
            wrong.append((step, f"counted {counted} times"))
        while contexts:
            contexts.pop().close()
        if not free():
            wrong.append((step, "no other thread can call init"))
        if (groups := len(torch_state._world.pg_map)) != 1:
            return step, [*wrong, (step, f"{groups} process groups")]
        if not came:
            break
    return step, wrong


@pytest.mark.parametrize(
    ("files", "stride"), [(FIRST, 4), pytest.param(ALL, 1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_an_interrupt_at_any_step_of_init_counts_the_call_and_leaves_nothing(
    files: tuple[str, ...], stride: int
) -> None:
    ((steps, wrong),) = run_ranks(1, at_every_step, files, stride, world=False, timeout=800)
    assert wrong == []
    assert steps > 100
