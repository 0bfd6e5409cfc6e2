"""The groups of vLLM's `initialize_model_parallel`, rank for rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pgregistry import WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes
from pgregistry.mesh import Mesh


def modes(prefix: str = "") -> Iterator[Mode]:
    """All modes; `prefix` comes before every name of a mode and of a size.

    Outermost first, the world is (what is left: independent engines) × dp × pp × pcp × tp.
    """
    tp = Split(WORLD, inner=f"{prefix}tensor_model_parallel_size")
    pcp = Split(tp.outer, inner=f"{prefix}prefill_context_model_parallel_size")
    pp = Split(pcp.outer, inner=f"{prefix}pipeline_model_parallel_size")
    dp = Split(pp.outer, inner=f"{prefix}data_parallel_size")
    dcp = Split(WORLD, inner=f"{prefix}decode_context_model_parallel_size")

    yield Mode(f"{prefix}tp", over=tp)
    yield Mode(f"{prefix}pcp", over=pcp)
    yield Mode(f"{prefix}pp", over=pp)
    yield Mode(f"{prefix}dp", over=dp)
    yield Mode(f"{prefix}ep", over=(dp, pcp, tp))
    yield Mode(f"{prefix}eplb", over=(dp, pcp, tp), dedicated=True)  # beside ep, so that neither waits for the other
    yield Mode(f"{prefix}dcp", groups=_decode_context(prefix))
    # A mode with groups= declares no size, so this one does: no group has a position that far out, so it has none.
    yield Mode(f"{prefix}dcp_size", over=dcp, at=1 << 40)


def _decode_context(prefix: str) -> Callable[[Mesh], Iterator[list[int]]]:
    """Runs of a block pcp × tp read with pcp fastest: a run may end where no axis does."""

    def groups(mesh: Mesh) -> Iterator[list[int]]:
        names = [f"{prefix}{kind}_model_parallel_size" for kind in ("tensor", "prefill_context", "decode_context")]
        tp, pcp, dcp = (mesh.sizes[name] for name in names)
        if tp * pcp % dcp:
            raise ConfigError(
                f"{names[2]} = {dcp} does not divide {names[0]} × {names[1]} = {tp} × {pcp}: "
                "a group would hold ranks of two tensor groups that share no heads."
            )
        for block in mesh.groups(names[:2]):
            ranks = [rank for column in range(tp) for rank in block[column::tp]]
            yield from (sorted(ranks[start : start + dcp]) for start in range(0, len(ranks), dcp))

    return groups


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, vllm_tensor_model_parallel_size=4 vllm_data_parallel_size=2: dp 0 4 | 1 5 | 2 6 | 3 7."""
    return modes("vllm_")


def plan(world_size: int, *, is_moe: bool = True, enable_eplb: bool = False, **sizes: Any) -> Plan:
    """Plan what `initialize_model_parallel` builds, under its names.

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
    names = ["tp", "pcp", "pp", "dp", "dcp", *["ep"] * is_moe, *["eplb"] * (is_moe and enable_eplb)]
    return plan_modes(world_size, modes(), keep=names, **sizes)
