"""Megatron-Core's process groups, rank for rank, as modes of pgregistry.

Its `initialize_model_parallel` factors the world twice, once for dense layers and once for those of
experts, nested as its `order` says, innermost first. Each factorisation is a chain of splits of the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from pgregistry import WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes
from pgregistry.axes import OneOrMore, Part

ORDER = ("tp", "cp", "ep", "dp", "pp")
INSTANCES = "num_distributed_optimizer_instances"
#: The size of each axis of dense layers, and of those of experts.
DENSE = {
    "tp": "tensor_model_parallel_size",
    "gtp_remat": "gtp_remat_size",
    "cp": "context_parallel_size",
    "dp": "data_parallel_size",
    "pp": "pipeline_model_parallel_size",
}
EXPERT = {
    "tp": "expert_tensor_parallel_size",
    "ep": "expert_model_parallel_size",
    "gtp_remat": "expert_gtp_remat_size",
    "dp": "expert_data_parallel_size",
    "pp": "expert_pipeline_model_parallel_size",
}
#: What each mode is over.
DENSE_MODES = {
    "TENSOR_MODEL_PARALLEL_GROUP": "tp",
    "PIPELINE_MODEL_PARALLEL_GROUP": "pp",
    "MODEL_PARALLEL_GROUP": "tp gtp_remat pp",
    "CONTEXT_PARALLEL_GROUP": "cp",
    "DATA_PARALLEL_GROUP": "dp",
    "DATA_PARALLEL_GROUP_WITH_CP": "dp cp",
    "DATA_PARALLEL_GROUP_WITH_GTP_REMAT": "gtp_remat dp",
    "DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT": "gtp_remat dp cp",
    "TENSOR_AND_DATA_PARALLEL_GROUP": "tp gtp_remat dp",
    "TENSOR_AND_DATA_PARALLEL_GROUP_WITH_CP": "tp gtp_remat dp cp",
    "TENSOR_AND_CONTEXT_PARALLEL_GROUP": "tp cp",
    "GTP_WEIGHT_REMAT_GROUP": "gtp_remat",
}
EXPERT_MODES = {
    "EXPERT_MODEL_PARALLEL_GROUP": "ep",
    "EXPERT_TENSOR_PARALLEL_GROUP": "tp",
    "EXPERT_TENSOR_AND_MODEL_PARALLEL_GROUP": "tp ep",
    "EXPERT_TENSOR_MODEL_PIPELINE_PARALLEL_GROUP": "tp ep pp",
    "EXPERT_TENSOR_MODEL_PIPELINE_PARALLEL_GROUP_WITH_EGTP": "tp ep gtp_remat pp",
    "EXPERT_DATA_PARALLEL_GROUP": "dp",
    "EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT": "gtp_remat dp",
    "EXPERT_GTP_WEIGHT_REMAT_GROUP": "gtp_remat",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L0": "instance",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L1": "instances",
    "INTRA_DISTRIBUTED_OPTIMIZER_INSTANCE_GROUP": "tp ep gtp_remat pp instance",
}
#: Modes that Megatron-Core builds if a size is above 1, and else has none of or another name for.
BUILT_ABOVE_1 = {
    "DATA_PARALLEL_GROUP_WITH_GTP_REMAT": "gtp_remat_size",
    "DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT": "gtp_remat_size",
    "EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT": "expert_gtp_remat_size",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L0": INSTANCES,
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L1": INSTANCES,
}
Grid = dict[str, Part]


def grid(names: Mapping[str, str], order: Sequence[str], of: OneOrMore, prefix: str, alias: str) -> Grid:
    """Which part of the world each axis is; with an alias its sizes are by default those without."""
    at, axes = order.index("ep" if "ep" in names else "tp") + 1, Grid()
    order = order if "gtp_remat" in order else [*order[:at], "gtp_remat", *order[at:]]
    order = [token for token in order if token in names]
    dp = order.index("dp")
    for token in (*order[:dp:-1], *order[:dp]):  # cut off at both ends; dp is what they leave
        side, last = "outer" if token in order[dp:] else "inner", token in order[:dp][-1:]
        same = names[token] if alias else DENSE[token] if names is EXPERT and token in ("tp", "pp") else None
        sides = {side: prefix + alias + names[token], **({"outer": prefix + alias + names["dp"]} if last else {})}
        split = Split(of, size=prefix + same if same else 1, **sides)
        axes[token] = getattr(split, side)
        of = axes[token].other
    return {**axes, "dp": of}


def grids(prefix: str = "", order: Sequence[str] = ORDER, alias: str = "") -> tuple[Grid, Grid]:
    """The axes of dense layers and of those of experts, which lie inside the pipeline where that is outermost."""
    dense = grid(DENSE, order, WORLD, prefix, alias)
    if order[-1] != "pp":
        return dense, grid(EXPERT, order, WORLD, prefix, alias)
    return dense, {**grid(EXPERT, order[:-1], dense["pp"].other, prefix, alias), "pp": dense["pp"]}


def modes(prefix: str = "", order: Sequence[str] = ORDER) -> Iterator[Mode]:
    """What is there whatever the arguments, and what gtp_remat or several optimizer instances add."""
    dense, expert = grids(prefix, order)
    split = Split(expert["dp"], outer=prefix + INSTANCES)
    expert |= {"instance": split.inner, "instances": split.outer}
    for axes, table in ((dense, DENSE_MODES), (expert, EXPERT_MODES)):
        for name, over in table.items():
            yield Mode(prefix + name, over=[axes[token] for token in over.split()])
    yield Mode(prefix + "EMBEDDING_GROUP", over=dense["pp"], at=(0, -1))
    yield Mode(prefix + "POSITION_EMBEDDING_GROUP", over=dense["pp"], at=0)


def runs(name: str, axes: Sequence[Part], length: int, apart: bool) -> Mode:
    """Neighbours in each group over some axes; a list where these lie apart, so that a cut may not fit."""
    if not apart:
        return Mode(name, over=Split(axes, inner=name.lower(), size=length, ragged=True))
    return Mode(
        name, groups=lambda mesh: [g[n : n + length] for g in mesh.groups(axes) for n in range(0, len(g), length)]
    )


def hierarchical(of: Part, levels: Sequence[int]) -> Iterator[Mode]:
    """The levels of the context groups, innermost first; `of` is the context axis."""
    for level, size in enumerate(levels):
        split = Split(of, inner=f"hierarchical_context_parallel_size_{level}", size=size)
        yield Mode(f"HIERARCHICAL_CONTEXT_PARALLEL_GROUP_L{level}", over=split)
        of = split.outer


def plan(
    world_size: int,
    *,
    order: str = "-".join(ORDER),
    virtual_pipeline_model_parallel_size: int | None = None,
    hierarchical_context_parallel_sizes: Sequence[int] | None = None,
    hybrid_context_parallel: bool = False,
    rank_offset: int = 0,
    local_world_size: int | None = None,
    **sizes: int | None,
) -> Plan:
    """The groups that Megatron-Core 0.19 makes of the same arguments, with those of `create_all_gather_groups`.

    >>> plan(8, tensor_model_parallel_size=2)["DATA_PARALLEL_GROUP"].groups
    <2 groups: (0, 2, 4, 6), (1, 3, 5, 7)>

    Args:
        world_size: How many ranks there are.
        order: The axes, innermost first.
        virtual_pipeline_model_parallel_size: Only checked; it makes no groups.
        hierarchical_context_parallel_sizes: The levels of the context groups, innermost first.
        hybrid_context_parallel: Whether to have groups of each power of two along data and context.
        rank_offset: The first rank that the plan lives on.
        local_world_size: How many ranks the plan lives on; None for all.
        **sizes: `tensor_model_parallel_size` and the like, 1 where not given.

    Raises:
        ConfigError: for what Megatron-Core refuses or breaks on.
    """
    tokens = order.lower().split("-")
    if "tp" not in tokens or not {*DENSE, *EXPERT}.issuperset(tokens) or len(set(tokens)) < len(tokens):
        raise ConfigError(f"order = {order!r} (argument) does not name tp, cp, ep, dp and pp, each once.")
    at, missing = tokens.index("tp") + 1, [token for token in ORDER if token not in tokens]
    tokens[at:at] = missing  # of size 1 or refused below, so it does not matter where
    local = world_size if local_world_size is None else local_world_size
    within = range(rank_offset, rank_offset + local) if rank_offset or local_world_size is not None else None
    (dense, expert), base = grids(order=tokens), list(modes(order=tokens))
    first = plan_modes(world_size, [*base, Mode("expert pp", over=expert["pp"])], within=within, **sizes)
    size, levels = first.sizes, list(hierarchical_context_parallel_sizes or ())
    width = {name: len(first[name].groups[0]) for name in first}
    dp, expert_dp, both = (
        width[name] for name in ("DATA_PARALLEL_GROUP", "EXPERT_DATA_PARALLEL_GROUP", "DATA_PARALLEL_GROUP_WITH_CP")
    )
    pp, cp, instances = size[DENSE["pp"]], size[DENSE["cp"]], size[INSTANCES]

    def refused() -> Iterator[str]:
        for name in (names[token] for token in missing for names in (DENSE, EXPERT) if token in names):
            if size.get(name, 1) > 1:
                yield f"order = {order!r} leaves out what {name} = {size[name]} is the size of."
        if pp > 1 and tokens[-1] != "pp" and dp != expert_dp:
            yield f"order = {order!r} has pp inside, so data_parallel_size = {dp} must be {expert_dp}, as for experts."
        if (pipes := first["PIPELINE_MODEL_PARALLEL_GROUP"].groups) != (others := first["expert pp"].groups):
            yield f"order = {order!r} gives dense layers the pipelines {pipes} and experts {others}."
        if virtual_pipeline_model_parallel_size is not None and pp == 1:
            yield f"virtual_pipeline_model_parallel_size needs {DENSE['pp']} > 1."
        if both % instances:
            yield f"{INSTANCES} = {instances} does not divide data × context = {both}."
        if hybrid_context_parallel and both % 2:
            yield f"hybrid_context_parallel needs an even data × context, not {both}."
        if levels and prod(levels) != cp:
            yield f"hierarchical_context_parallel_sizes = {levels} do not multiply to {DENSE['cp']} = {cp}."
        yield from unsupported(size)

    if sentences := list(refused()):
        raise ConfigError("\n".join(sentences))

    pair, apart = (dense["dp"], dense["cp"]), abs(tokens.index("dp") - tokens.index("cp")) > 1
    base = [mode for mode in base if size.get(BUILT_ABOVE_1.get(mode.name, ""), 2) > 1]
    if instances > 1:
        base.append(runs("INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP", pair, both // instances, apart))
    if hybrid_context_parallel:
        base += [runs(f"HYBRID_DP_CP_GROUP_{2**n}", pair, 2**n, apart) for n in range(1, both.bit_length() - 1)]
    base += hierarchical(dense["cp"], levels)
    if size["gtp_remat_size"] == 1 and not rank_offset:  # else Megatron-Core breaks, or takes other ranks
        if tokens != list(ORDER):
            dense, expert = grids(alias="all_gather_")  # it forgets the order
        base.append(Mode("DATA_PARALLEL_GROUP_WITH_CP_AG", over=(dense["dp"], dense["cp"]), dedicated=True))
        if size["expert_gtp_remat_size"] == 1 < size["expert_model_parallel_size"]:
            base.append(Mode("EXPERT_DATA_PARALLEL_GROUP_AG", over=expert["dp"], dedicated=True))
    return plan_modes(world_size, base, within=within, **sizes)


def unsupported(size: Mapping[str, int], prefix: str = "") -> Iterator[str]:
    """What Megatron-Core cannot do yet."""
    remat, expert_remat, instances = (prefix + name for name in (DENSE["gtp_remat"], EXPERT["gtp_remat"], INSTANCES))
    if size[instances] > 1 < size[remat] * size[expert_remat]:
        yield f"{instances} = {size[instances]} needs {remat} = {expert_remat} = 1."


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, megatron_tensor_model_parallel_size=2: the tensor groups are 0 1 | 2 3 | 4 5 | 6 7."""
    yield from modes("megatron_")
    data = ("megatron_data_parallel_size", "megatron_context_parallel_size")
    split = Split(data, outer=f"megatron_{INSTANCES}_with_cp", size=f"megatron_{INSTANCES}")
    yield Mode("megatron_INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP", over=split.inner)


@hookimpl
def pgregistry_check(plan: Plan) -> Iterator[str]:
    """Whether Megatron-Core can do it."""
    return unsupported(plan.sizes, "megatron_")
