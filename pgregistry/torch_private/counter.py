"""The number of process groups that torch has counted in this process: it names the next one after it."""

from __future__ import annotations

import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d


def restart() -> None:
    """Let the name of the next default process group be that of a first one.

    A start that failed half-way is counted all the same, and torch's ranks only meet under equal names. torch
    counts anew when a default process group is destroyed. There must be none.
    """
    _set(0)


def raise_to(count: int) -> None:
    """Count `count` process groups, if fewer have been counted: names that were used are not used again."""
    if dist.get_pg_count() < count:
        _set(count)


def _set(count: int) -> None:
    world = getattr(c10d, "_world", None)
    if hasattr(world, "group_count"):
        world.group_count = count  # type: ignore[union-attr]
