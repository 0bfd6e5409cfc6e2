"""The groups of nanotron's ParallelContext, rank for rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pgregistry import FULL, WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes


def modes(prefix: str = "") -> Iterator[Mode]:
    """Yield all modes; `prefix` comes before every name of a mode and of a size.

    Outermost first, the world is pp × dp × cp × tp.
    """
    tp = Split(WORLD, inner=f"{prefix}tensor_parallel_size")
    cp = Split(tp.outer, inner=f"{prefix}context_parallel_size")
    dp = Split(cp.outer, inner=f"{prefix}data_parallel_size", outer=f"{prefix}pipeline_parallel_size", size=FULL)
    local = Split(WORLD, inner=f"{prefix}local_world_size")

    yield Mode(f"{prefix}tp", over=tp)
    yield Mode(f"{prefix}cp", over=cp)
    yield Mode(f"{prefix}dp", over=dp)
    yield Mode(f"{prefix}pp", over=dp.outer)
    yield Mode(f"{prefix}ep", over=())  # never larger than 1
    yield Mode(f"{prefix}mp", over=(dp.outer, tp))
    yield Mode(f"{prefix}dp_cp", over=(dp, cp))
    yield Mode(f"{prefix}tp_and_ep", over=tp)
    yield Mode(f"{prefix}local", over=local)


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, nanotron_pipeline_parallel_size=2 nanotron_tensor_parallel_size=2: mp 0 1 4 5 | 2 3 6 7."""
    return modes("nanotron_")


def plan(
    world_size: int,
    *,
    pipeline_parallel_size: int = 1,
    expert_parallel_size: int = 1,
    local_world_size: int | None = None,
    **sizes: Any,
) -> Plan:
    """Plan the groups that `ParallelContext` builds, under its names.

    >>> plan(8, tensor_parallel_size=2, pipeline_parallel_size=2, data_parallel_size=2)["dp"].groups
    <4 groups: (0, 2), (1, 3), (4, 6), (5, 7)>

    Args:
        world_size: How many ranks there are.
        pipeline_parallel_size: How many stages there are.
        expert_parallel_size: 1; nanotron fails with more.
        local_world_size: How many ranks one host has. By default 8, or all of a world of up to 8.
        **sizes: `tensor_parallel_size` and `context_parallel_size`, each 1 by default, and
            `data_parallel_size`, what the others leave; `within=` as in `pgregistry.plan`.

    Raises:
        ConfigError: if a size does not fit, with those that would.
    """
    if expert_parallel_size != 1 or isinstance(expert_parallel_size, bool):
        raise ConfigError(
            f"expert_parallel_size = {expert_parallel_size!r} cannot be: nanotron takes only 1, because it wants the "
            "other sizes to make up the world and then lays the ranks out with the experts on top."
        )
    one_host = isinstance(world_size, int) and world_size <= 8
    if one_host and local_world_size not in (None, world_size):
        raise ConfigError(
            f"local_world_size = {local_world_size!r} cannot be: nanotron takes a world of up to 8 ranks for one host, "
            f"so leave it out or say {world_size}."
        )
    if local_world_size is None:
        local_world_size = world_size if one_host else 8
    sizes |= {"pipeline_parallel_size": pipeline_parallel_size, "local_world_size": local_world_size}
    return plan_modes(world_size, modes(), **sizes)
