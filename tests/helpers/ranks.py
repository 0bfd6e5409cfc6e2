"""Real ranks for tests, all forked from one process with torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from pgregistry.testing import LocalRanks

#: What DTensors need, and what a first DTensor imports: more than a second of processor time a rank.
PRELOAD = ("torch.distributed.tensor.parallel", "torch.distributed.fsdp", "torch._dynamo")
#: Seconds for ranks to end; `make torch` gives more, for it may run beside other work.
SECONDS = float(os.environ.get("TEST_RANKS_SECONDS", "60"))


@cache
def local_ranks() -> LocalRanks:
    """Return the one server of this process, which has imported `PRELOAD`."""
    return LocalRanks(preload=PRELOAD)


def run_ranks(
    count: int, function: Callable[..., Any], *args: Any, world: bool = True, timeout: float = SECONDS, env: Any = None
) -> list[Any]:
    """Return what the function returned on each rank; if one fails, the others have all of the time."""
    return local_ranks().run(count, function, *args, world=world, timeout=timeout, grace=timeout, env=env)


def alive() -> int:
    """Return how many process groups torch has in this process."""
    import torch.distributed as dist

    return len(dist.distributed_c10d._world.pg_map)


def verified(context: Any) -> bool:
    """Return True when a collective has proved every group of a context; raise if one is wrong."""
    context.verify()
    return True


def init_and_verify(sizes: dict[str, Any]) -> list[str]:
    """Return the modes of a plan when it is built on this rank and a collective has proved every group."""
    import pgregistry

    with pgregistry.init(**sizes) as context:
        context.verify()
        return list(context.plan.modes)
