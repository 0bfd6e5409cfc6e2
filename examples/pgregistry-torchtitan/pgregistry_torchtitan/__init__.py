"""The groups of torchtitan's ParallelDims, rank for rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pgregistry import FULL, WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes

#: The modes that each `spmd_backend` does not build.
WITHOUT: Final = {"spmd_types": {"fsdp"}, "partial_dtensor": {"dp", "dp_shard"}, "full_dtensor": {"dp", "fsdp"}}


def modes(prefix: str = "") -> Iterator[Mode]:
    """Yield all modes; `prefix` comes before every name of a mode and of a size.

    Outermost first, the world is pp × dp_replicate × dp_shard × cp × tp. In a layer with experts
    it is pp × dp_replicate × efsdp × ep: the same ranks of one replica, divided differently.
    """
    pp = Split(WORLD, outer=f"{prefix}pp")
    tp = Split(pp.inner, inner=f"{prefix}tp")
    cp = Split(tp.outer, inner=f"{prefix}cp")
    dp = Split(cp.outer, inner=f"{prefix}dp_shard", outer=f"{prefix}dp_replicate", size=FULL)
    ep = Split((dp, cp, tp), inner=f"{prefix}ep")

    yield Mode(f"{prefix}pp", over=pp.outer)
    yield Mode(f"{prefix}dp_replicate", over=dp.outer)
    yield Mode(f"{prefix}dp_shard", over=dp)
    yield Mode(f"{prefix}cp", over=cp)
    yield Mode(f"{prefix}tp", over=tp)
    yield Mode(f"{prefix}batch", over=(dp.outer, dp))
    yield Mode(f"{prefix}dp", over=(dp.outer, dp))
    yield Mode(f"{prefix}loss", over=(dp.outer, dp, cp))
    yield Mode(f"{prefix}fsdp", over=(dp, cp))
    yield Mode(f"{prefix}ep", over=ep)
    yield Mode(f"{prefix}efsdp", over=ep.outer)


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, torchtitan_tp=2 torchtitan_ep=4: tp 0 1 | 2 3 | 4 5 | 6 7, efsdp 0 4 | 1 5 | 2 6 | 3 7."""
    return modes("torchtitan_")


def plan(
    world_size: int, *, dp_replicate: int = 1, dp_shard: int = -1, spmd_backend: str = "spmd_types", **degrees: Any
) -> Plan:
    """Plan the groups that `ParallelDims` builds, under its names.

    >>> plan(8, dp_replicate=2, tp=2)["dp_shard"].groups
    <4 groups: (0, 2), (1, 3), (4, 6), (5, 7)>

    Args:
        world_size: How many ranks there are.
        dp_replicate: The number of copies of the model.
        dp_shard: -1 for what the other degrees leave.
        spmd_backend: `spmd_types`, `partial_dtensor` or `full_dtensor`; each lacks some modes of the others.
        **degrees: `cp`, `tp`, `pp` and `ep`, each 1 by default; `within=` as in `pgregistry.plan`.

    Raises:
        ConfigError: if a degree does not fit, with those that would.
    """
    if spmd_backend not in WITHOUT:
        raise ConfigError(f"spmd_backend = {spmd_backend!r} is none of {', '.join(WITHOUT)}.")
    names = {mode.name for mode in modes()} - WITHOUT[spmd_backend]
    shard = None if dp_shard == -1 else dp_shard
    return plan_modes(world_size, modes(), keep=names, dp_replicate=dp_replicate, dp_shard=shard, **degrees)
