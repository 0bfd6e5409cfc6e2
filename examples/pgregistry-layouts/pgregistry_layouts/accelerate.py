"""The groups of accelerate's ParallelismConfig, rank for rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pgregistry import WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes


def modes(prefix: str = "") -> Iterator[Mode]:
    """Yield all modes; `prefix` comes before every name of a mode and of a size.

    Outermost first, the world is dp_replicate × dp_shard × cp × tp.
    """
    tp = Split(WORLD, inner=f"{prefix}tp_size")
    cp = Split(tp.outer, inner=f"{prefix}cp_size")
    shard = Split(cp.outer, inner=f"{prefix}dp_shard_size", outer=f"{prefix}dp_replicate_size")

    yield Mode(f"{prefix}dp_replicate", over=shard.outer)
    yield Mode(f"{prefix}dp_shard", over=shard)
    yield Mode(f"{prefix}cp", over=cp)
    yield Mode(f"{prefix}tp", over=tp)
    yield Mode(f"{prefix}dp", over=(shard.outer, shard))
    yield Mode(f"{prefix}dp_shard_cp", over=(shard, cp))
    yield Mode(f"{prefix}dp_cp", over=(shard.outer, shard, cp))


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, accelerate_dp_shard_size=2 accelerate_tp_size=2: dp_shard 0 2 | 1 3 | 4 6 | 5 7."""
    return modes("accelerate_")


def plan(
    world_size: int,
    *,
    dp_replicate_size: int | None = None,
    dp_shard_size: int | None = None,
    cp_size: int | None = None,
    sp_size: int | None = None,
    tp_size: int | None = None,
    **others: Any,
) -> Plan:
    """Plan the mesh that a `ParallelismConfig` builds, under its names. A size of 1 has no mode.

    >>> plan(8, dp_shard_size=4, tp_size=2).modes
    ('dp', 'dp_cp', 'dp_shard', 'dp_shard_cp', 'tp')

    Args:
        world_size: How many ranks there are.
        dp_replicate_size: 1 by default; the whole world if all sizes are 1.
        dp_shard_size: 1 by default.
        cp_size: 1 by default.
        sp_size: 1. Above it, accelerate builds no mesh, and DeepSpeed builds its own groups.
        tp_size: 1 by default.
        **others: `within=` as in `pgregistry.plan`.

    Raises:
        ConfigError: if a size does not fit, with those that would.
    """
    if sp_size is not None and (sp_size != 1 or isinstance(sp_size, bool)):
        beside = f", and never beside cp_size = {cp_size!r}" if cp_size not in (None, 1) else ""
        raise ConfigError(
            f"sp_size = {sp_size!r} has no mesh{beside}: accelerate leaves these groups to DeepSpeed; "
            "pgregistry_deepspeed plans them with api='initialize_sequence_parallel'."
        )
    given = {
        "dp_replicate_size": dp_replicate_size,
        "dp_shard_size": dp_shard_size,
        "cp_size": cp_size,
        "tp_size": tp_size,
    }
    sizes: dict[str, Any] = {name: 1 if size is None else size for name, size in given.items()}
    if all(size == 1 and size is not True for size in sizes.values()):
        del sizes["dp_replicate_size"]  # what is left: the world
    everything = plan_modes(world_size, modes(), **sizes, **others)
    found = everything.sizes
    if found["dp_replicate_size"] > found["dp_shard_size"] == 1 and found["cp_size"] * found["tp_size"] > 1:
        raise ConfigError(
            f"dp_replicate_size = {found['dp_replicate_size']} and dp_shard_size = 1 cannot be beside "
            f"cp_size = {found['cp_size']} and tp_size = {found['tp_size']}: accelerate wants shards for that."
        )
    names = [name for name in everything.modes if len(everything[name].groups[0]) > 1]
    return plan_modes(world_size, modes(), keep=names, **sizes, **others)
