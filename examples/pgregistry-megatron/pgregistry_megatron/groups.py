"""Megatron-Core's groups as modes.

It factors the world twice, once for dense layers and once for those of experts, nested as its
`order` says, innermost first. Here each factorisation is a chain of splits of the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pgregistry import WORLD, Mode, Plan, Split, hookimpl

PREFIX: Final = "megatron_"
ORDER: Final = ("tp", "cp", "ep", "dp", "pp")
INSTANCES: Final = "num_distributed_optimizer_instances"
#: The size of each axis of dense layers, and of each axis of those of experts.
DENSE: Final = {
    "tp": "tensor_model_parallel_size",
    "gtp_remat": "gtp_remat_size",
    "cp": "context_parallel_size",
    "dp": "data_parallel_size",
    "pp": "pipeline_model_parallel_size",
}
EXPERT: Final = {
    "tp": "expert_tensor_parallel_size",
    "ep": "expert_model_parallel_size",
    "gtp_remat": "expert_gtp_remat_size",
    "dp": "expert_data_parallel_size",
    "pp": "expert_pipeline_model_parallel_size",
}
#: Sizes that equal another size unless they are set; the others are 1 then.
SAME: Final = {EXPERT["tp"]: DENSE["tp"], EXPERT["pp"]: DENSE["pp"]}
#: What each mode is over, and the size that must be above 1, or Megatron-Core does not build it.
DENSE_MODES: Final = {
    "TENSOR_MODEL_PARALLEL_GROUP": "tp",
    "PIPELINE_MODEL_PARALLEL_GROUP": "pp",
    "MODEL_PARALLEL_GROUP": "tp gtp_remat pp",
    "CONTEXT_PARALLEL_GROUP": "cp",
    "DATA_PARALLEL_GROUP": "dp",
    "DATA_PARALLEL_GROUP_WITH_CP": "dp cp",
    "DATA_PARALLEL_GROUP_WITH_GTP_REMAT": "gtp_remat dp if gtp_remat_size",
    "DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT": "gtp_remat dp cp if gtp_remat_size",
    "TENSOR_AND_DATA_PARALLEL_GROUP": "tp gtp_remat dp",
    "TENSOR_AND_DATA_PARALLEL_GROUP_WITH_CP": "tp gtp_remat dp cp",
    "TENSOR_AND_CONTEXT_PARALLEL_GROUP": "tp cp",
    "GTP_WEIGHT_REMAT_GROUP": "gtp_remat",
}
EXPERT_MODES: Final = {
    "EXPERT_MODEL_PARALLEL_GROUP": "ep",
    "EXPERT_TENSOR_PARALLEL_GROUP": "tp",
    "EXPERT_TENSOR_AND_MODEL_PARALLEL_GROUP": "tp ep",
    "EXPERT_TENSOR_MODEL_PIPELINE_PARALLEL_GROUP": "tp ep pp",
    "EXPERT_TENSOR_MODEL_PIPELINE_PARALLEL_GROUP_WITH_EGTP": "tp ep gtp_remat pp",
    "EXPERT_DATA_PARALLEL_GROUP": "dp",
    "EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT": "gtp_remat dp if expert_gtp_remat_size",
    "EXPERT_GTP_WEIGHT_REMAT_GROUP": "gtp_remat",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L0": f"instance if {INSTANCES}",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L1": f"instances if {INSTANCES}",
    "INTRA_DISTRIBUTED_OPTIMIZER_INSTANCE_GROUP": "tp ep gtp_remat pp instance",
}
#: A part of a split: an axis of a grid.
Part: TypeAlias = Any
Grid: TypeAlias = dict[str, Part]


def grids(prefix: str = "", order: Sequence[str] = ORDER, alias: str = "") -> tuple[Grid, Grid]:
    """Return the axes of dense layers, and those of experts, each as a part of the world.

    With an alias, the sizes have names of their own, and default to the sizes without it.
    """

    def grid(names: Mapping[str, str], order: Sequence[str], after: str, of: Part) -> Grid:
        at, axes = order.index(after) + 1, Grid()
        order = order if "gtp_remat" in order else [*order[:at], "gtp_remat", *order[at:]]
        order = [token for token in order if token in names]
        inner, outer = order[: order.index("dp")], order[order.index("dp") + 1 :]
        for token in (*reversed(outer), *inner):  # cut off at both ends; dp is what they leave
            name, default = prefix + alias + names[token], names[token] if alias else SAME.get(names[token])
            size = prefix + default if default else 1
            if token in outer:
                split = Split(of, outer=name, size=size)
                axes[token], axes["dp"] = split.outer, split.inner
            else:
                dp = prefix + alias + names["dp"] if token == inner[-1] else None
                split = Split(of, inner=name, outer=dp, size=size)
                axes[token], axes["dp"] = split.inner, split.outer
            of = axes["dp"]
        return axes

    dense = grid(DENSE, order, "tp", WORLD)
    if order[-1] != "pp":
        return dense, grid(EXPERT, order, "ep", WORLD)
    return dense, grid(EXPERT, order[:-1], "ep", dense["pp"].other) | {"pp": dense["pp"]}


def modes(prefix: str = "", order: Sequence[str] = ORDER) -> Iterator[Mode]:
    """Yield the modes that every plan has, and those that gtp_remat or several optimizer instances add."""
    dense, expert = grids(prefix, order)
    split = Split(expert["dp"], outer=prefix + INSTANCES)
    expert |= {"instance": split.inner, "instances": split.outer}
    for axes, table in ((dense, DENSE_MODES), (expert, EXPERT_MODES)):
        for name, over in table.items():
            yield Mode(prefix + name, over=[axes[token] for token in over.split(" if ")[0].split()])
    yield Mode(prefix + "EMBEDDING_GROUP", over=dense["pp"], at=(0, -1))
    yield Mode(prefix + "POSITION_EMBEDDING_GROUP", over=dense["pp"], at=0)


def runs(name: str, axes: Sequence[str | Part], length: int, listed: bool = False) -> Mode:
    """Return a mode of runs of neighbours in each group over some axes; listed if axes lie apart and no cut fits."""
    if not listed:
        return Mode(name, over=Split(axes, inner=name.lower(), size=length, ragged=True))
    return Mode(
        name, groups=lambda mesh: [g[n : n + length] for g in mesh.groups(axes) for n in range(0, len(g), length)]
    )


def hierarchical(of: Part, sizes: Sequence[int], prefix: str = "") -> Iterator[Mode]:
    """Yield the levels of the groups over the context axis, innermost first."""
    for level, size in enumerate(sizes):
        split = Split(of, inner=f"{prefix}hierarchical_context_parallel_size_{level}", size=size)
        yield Mode(f"{prefix}HIERARCHICAL_CONTEXT_PARALLEL_GROUP_L{level}", over=split)
        of = split.outer


def all_gather(dense: Grid, expert: Grid) -> Iterator[Mode]:
    """Yield what `create_all_gather_groups` adds: further process groups over ranks that have one already."""
    yield Mode("DATA_PARALLEL_GROUP_WITH_CP_AG", over=(dense["dp"], dense["cp"]), dedicated=True)
    yield Mode("EXPERT_DATA_PARALLEL_GROUP_AG", over=expert["dp"], dedicated=True)


def built(name: str, sizes: Mapping[str, int]) -> bool:
    """Return whether Megatron-Core builds a mode, and not another or none in its place."""
    _, _, above_1 = {**DENSE_MODES, **EXPERT_MODES}.get(name, "").partition(" if ")
    return not above_1 or sizes[above_1] > 1


def unsupported(sizes: Mapping[str, int], prefix: str = "") -> Iterator[str]:
    """Yield a sentence for each combination that can be planned but that Megatron-Core does not support."""
    remat, expert_remat, instances = (prefix + name for name in (DENSE["gtp_remat"], EXPERT["gtp_remat"], INSTANCES))
    if sizes[instances] > 1 < sizes[remat] * sizes[expert_remat]:
        yield f"{instances} = {sizes[instances]} needs {remat} = {expert_remat} = 1."


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, megatron_tensor_model_parallel_size=2: tensor groups 0 1 | 2 3 | 4 5 | 6 7."""
    yield from modes(PREFIX)
    data = [PREFIX + DENSE[token] for token in ("dp", "cp")]
    split = Split(data, outer=f"{PREFIX}{INSTANCES}_with_cp", size=PREFIX + INSTANCES)
    yield Mode(PREFIX + "INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP", over=split.inner)


@hookimpl
def pgregistry_check(plan: Plan) -> Iterator[str]:
    """Refuse what Megatron-Core does not support."""
    return unsupported(plan.sizes, PREFIX)
