"""Megatron-Core's process groups, rank for rank, as modes of pgregistry.

Its `initialize_model_parallel` factors the world twice, once for the dense layers and once for those of
experts, nested as its `order` says, innermost first. Each factorisation is a chain of splits of the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from types import SimpleNamespace

from pgregistry import WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes
from pgregistry.axes import OneOrMore, Part
from pgregistry.errors import Problems
from pgregistry.mesh import Mesh

ORDER = ("tp", "cp", "ep", "dp", "pp")
INSTANCES = "num_distributed_optimizer_instances"
DATA = "DATA_PARALLEL_GROUP"
PREFIX = "megatron_"
#: The size of each axis.
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
#: The sizes that are another one's by default.
SAME = {EXPERT["tp"]: DENSE["tp"], EXPERT["pp"]: DENSE["pp"]}
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
#: Those that Megatron-Core builds where a size is more than 1, and else leaves to another.
WHERE_LARGE = {
    "DATA_PARALLEL_GROUP_WITH_GTP_REMAT": DENSE["gtp_remat"],
    "DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT": DENSE["gtp_remat"],
    "EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT": EXPERT["gtp_remat"],
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L0": INSTANCES,
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L1": INSTANCES,
}
Grid = dict[str, Part]


def grid(sizes: Mapping[str, str], order: Sequence[str], after: str, prefix: str, alias: str, of: OneOrMore) -> Grid:
    """The part of the world that each axis is; with an alias the sizes have other names, and are the same by default."""
    if "gtp_remat" not in order:
        at = order.index(after) + 1
        order = [*order[:at], "gtp_remat", *order[at:]]
    order = [token for token in order if token in sizes]
    inner, outer = order[: order.index("dp")], order[order.index("dp") + 1 :]
    axes = Grid()
    for token in (*reversed(outer), *inner):  # cut off at both ends; dp is what they leave
        name, side = sizes[token], "inner" if token in inner else "outer"
        names = {side: prefix + alias + name}
        if inner and token == inner[-1]:
            names["outer"] = prefix + alias + sizes["dp"]
        default = name if alias else SAME.get(name)
        split = Split(of, size=prefix + default if default else 1, **names)
        axes[token] = split.inner if token in inner else split.outer
        of = axes[token].other
    return {**axes, "dp": of}


def grids(prefix: str = "", order: Sequence[str] = ORDER, alias: str = "") -> tuple[Grid, Grid]:
    """The axes of the dense layers, and those of the experts."""
    dense = grid(DENSE, order, "tp", prefix, alias, WORLD)
    if order[-1] != "pp":
        return dense, grid(EXPERT, order, "ep", prefix, alias, WORLD)
    expert = grid(EXPERT, order[:-1], "ep", prefix, alias, dense["pp"].other)
    return dense, {**expert, "pp": dense["pp"]}


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


def runs(name: str, axes: Sequence[OneOrMore], length: int, apart: bool) -> Mode:
    """Runs of neighbours in each group over some axes; listed where those lie apart, so that a cut may not fit."""
    if not apart:
        return Mode(name, over=Split(axes, inner=name.lower(), size=length, ragged=True))

    def groups(mesh: Mesh) -> Iterator[tuple[int, ...]]:
        return (group[at : at + length] for group in mesh.groups(axes) for at in range(0, len(group), length))

    return Mode(name, groups=groups)


def hierarchical(of: OneOrMore, levels: int, prefix: str = "") -> Iterator[Mode]:
    """The levels of the context groups, innermost first; the last is what the others leave."""
    for level in range(levels):
        split = Split(of, inner=f"{prefix}hierarchical_context_parallel_size_{level}")
        yield Mode(f"{prefix}HIERARCHICAL_CONTEXT_PARALLEL_GROUP_L{level}", over=split if level < levels - 1 else of)
        of = split.outer


def unsupported(sizes: Mapping[str, int], prefix: str = "") -> Iterator[str]:
    """What Megatron-Core cannot do yet."""
    remat, expert_remat, instances = (prefix + name for name in (DENSE["gtp_remat"], EXPERT["gtp_remat"], INSTANCES))
    if sizes[instances] > 1 and max(sizes[remat], sizes[expert_remat]) > 1:
        yield f"{instances} = {sizes[instances]} goes with {remat} = {expert_remat} = 1 only."


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
    dense, expert = grids(order=tokens)
    base = list(modes(order=tokens))
    first = plan_modes(world_size, [*base, Mode("expert pp", over=expert["pp"])], within=within, **sizes)
    size, levels = first.sizes, list(hierarchical_context_parallel_sizes or ())
    instances, cp, pp = (size[name] for name in (INSTANCES, DENSE["cp"], DENSE["pp"]))
    dp, expert_dp, dp_cp = (len(first[name].groups[0]) for name in (DATA, "EXPERT_" + DATA, DATA + "_WITH_CP"))
    pipes, expert_pipes = first["PIPELINE_MODEL_PARALLEL_GROUP"].groups, first["expert pp"].groups
    problems = Problems()

    def refuse(wrong: object, sentence: str) -> None:
        if wrong:
            problems.add(ConfigError(sentence))

    for sentence in unsupported(size):
        refuse(True, sentence)
    for token in missing:
        for names in (DENSE, EXPERT):
            name = names.get(token, "")
            refuse(size.get(name, 1) > 1, f"order = {order!r} leaves out {token}, but {name} = {size.get(name)}.")
    refuse(
        tokens[-1] != "pp" and pp > 1 and dp != expert_dp,
        f"order = {order!r} does not end in pp, so data_parallel_size = {dp} "
        f"and expert_data_parallel_size = {expert_dp} must be equal.",
    )
    refuse(
        pipes != expert_pipes,
        f"order = {order!r} gives dense layers the pipelines {pipes}, but those of experts {expert_pipes}.",
    )
    refuse(
        virtual_pipeline_model_parallel_size is not None and pp == 1,
        "virtual_pipeline_model_parallel_size needs a pipeline_model_parallel_size above 1.",
    )
    refuse(dp_cp % instances, f"{INSTANCES} = {instances} does not divide data × context = {dp_cp}.")
    refuse(hybrid_context_parallel and dp_cp % 2, f"hybrid_context_parallel needs an even data × context, not {dp_cp}.")
    refuse(
        levels and prod(levels) != cp,
        f"hierarchical_context_parallel_sizes = {levels} do not multiply to context_parallel_size = {cp}.",
    )
    problems.raise_any()

    both, apart = (dense["dp"], dense["cp"]), abs(tokens.index("dp") - tokens.index("cp")) > 1
    base = [mode for mode in base if size.get(WHERE_LARGE.get(mode.name, ""), 2) > 1]
    if instances > 1:
        base.append(runs("INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP", both, dp_cp // instances, apart))
    if hybrid_context_parallel:
        powers = [2**n for n in range(1, dp_cp.bit_length() - 1)]
        base += [runs(f"HYBRID_DP_CP_GROUP_{n}", both, n, apart) for n in powers]
    base += hierarchical(dense["cp"], len(levels))
    sizes |= {f"hierarchical_context_parallel_size_{n}": level for n, level in enumerate(levels[:-1])}
    if size["gtp_remat_size"] == 1 and not rank_offset:  # else Megatron-Core breaks, or takes other ranks
        if tokens != list(ORDER):
            dense, expert = grids(alias="all_gather_")  # it forgets the order
        base.append(Mode("DATA_PARALLEL_GROUP_WITH_CP_AG", over=(dense["dp"], dense["cp"]), dedicated=True))
        if size["expert_gtp_remat_size"] == 1 < size["expert_model_parallel_size"]:
            base.append(Mode("EXPERT_DATA_PARALLEL_GROUP_AG", over=expert["dp"], dedicated=True))
    return plan_modes(world_size, base, within=within, **sizes)


def _plugin(declare: Callable[[], Iterable[Mode]]) -> SimpleNamespace:
    return SimpleNamespace(pgregistry_modes=hookimpl(declare))


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """The modes of one optimizer instance and of several."""
    yield from modes(PREFIX)
    split = Split(BOTH, outer=PREFIX + INSTANCES + "_with_cp", size=PREFIX + INSTANCES)
    yield Mode(PREFIX + "INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP", over=split.inner)


@hookimpl
def pgregistry_check(plan: Plan) -> Iterator[str]:
    """What Megatron-Core cannot do."""
    yield from unsupported(plan.sizes, PREFIX)
