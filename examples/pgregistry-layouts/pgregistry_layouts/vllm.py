"""The groups of vLLM's `initialize_model_parallel`, rank for rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pgregistry import WORLD, ConfigError, Mesh, Mode, Plan, Split, hookimpl, plan_modes

TP: Final = "tensor_model_parallel_size"
PCP: Final = "prefill_context_model_parallel_size"
DCP: Final = "decode_context_model_parallel_size"


def modes(prefix: str = "", *, prefill: bool = True) -> Iterator[Mode]:
    """Yield all modes; `prefix` comes before every name of a mode and of a size.

    Outermost first, the world is (what is left: independent engines) × dp × pp × pcp × tp. If
    pcp or dcp is 1, pass `prefill=False`: then dcp is in axes too.
    """
    tp = Split(WORLD, inner=f"{prefix}{TP}")
    pcp = Split(tp.outer, inner=f"{prefix}{PCP}")
    pp = Split(pcp.outer, inner=f"{prefix}pipeline_model_parallel_size")
    dp = Split(pp.outer, inner=f"{prefix}data_parallel_size")
    dcp = Split(WORLD if prefill else tp, inner=f"{prefix}{DCP}")

    def rows(mesh: Mesh) -> Iterator[list[int]]:
        """Yield runs of a block pcp × tp that is read with pcp fastest; a run may end inside a row."""
        width, run = mesh.sizes[f"{prefix}{TP}"], mesh.sizes[f"{prefix}{DCP}"]
        for block in mesh.groups((pcp, tp)):
            if len(block) % run:
                raise ConfigError(f"{prefix}{DCP} = {run} does not divide {prefix}{TP} × {prefix}{PCP} = {len(block)}.")
            ranks = [rank for column in range(width) for rank in block[column::width]]
            yield from (sorted(ranks[start : start + run]) for start in range(0, len(ranks), run))

    yield Mode(f"{prefix}tp", over=tp)
    yield Mode(f"{prefix}pcp", over=pcp)
    yield Mode(f"{prefix}pp", over=pp)
    yield Mode(f"{prefix}dp", over=dp)
    yield Mode(f"{prefix}ep", over=(dp, pcp, tp))
    yield Mode(
        f"{prefix}eplb", over=(dp, pcp, tp), dedicated=True
    )  # so that collectives of eplb and ep do not wait for each other
    yield Mode(f"{prefix}dcp", groups=rows, sizes=dcp) if prefill else Mode(f"{prefix}dcp", over=dcp)


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, vllm_tensor_model_parallel_size=4 vllm_data_parallel_size=2: dp 0 4 | 1 5 | 2 6 | 3 7."""
    return modes("vllm_")


def plan(world_size: int, *, is_moe: bool = True, enable_eplb: bool = False, **sizes: Any) -> Plan:
    """Plan the groups that `initialize_model_parallel` builds, under its names.

    >>> plan(8, tensor_model_parallel_size=2, data_parallel_size=2)["ep"].groups
    <2 groups: (0, 1, 2, 3), (4, 5, 6, 7)>

    Args:
        world_size: How many ranks there are, in all engines together.
        is_moe: Whether the model has experts; without them there is no `ep`.
        enable_eplb: Whether there is also `eplb`, with process groups of its own.
        **sizes: `tensor_model_parallel_size`, `pipeline_model_parallel_size`, `data_parallel_size`,
            `prefill_context_model_parallel_size` and `decode_context_model_parallel_size`, each 1
            by default; `within=` as in `pgregistry.plan`.

    Raises:
        ConfigError: if a size does not fit, with those that would.
    """
    asked = modes(prefill=not any(sizes.get(name) in (None, 1) for name in (PCP, DCP)))
    without = set() if is_moe and enable_eplb else {"eplb"} if is_moe else {"ep", "eplb"}
    return plan_modes(world_size, (mode for mode in asked if mode.name not in without), **sizes)
