"""Megatron-Core's arguments, made into a plan of its groups or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from typing import Any, Final

from pgregistry import ConfigError, Mesh, Mode, Plan, plan_modes
from pgregistry_megatron import groups
from pgregistry_megatron.groups import DENSE, EXPERT, INSTANCES, ORDER

EMBEDDINGS: Final = ("EMBEDDING_GROUP", "POSITION_EMBEDDING_GROUP")
DATA: Final = ("DATA_PARALLEL_GROUP", "EXPERT_DATA_PARALLEL_GROUP", "DATA_PARALLEL_GROUP_WITH_CP")


def plan(
    world_size: int,
    *,
    order: str = "-".join(ORDER),
    virtual_pipeline_model_parallel_size: int | None = None,
    hierarchical_context_parallel_sizes: Sequence[int] | None = None,
    hybrid_context_parallel: bool = False,
    get_embedding_ranks: Callable[[list[int]], Iterable[int]] | None = None,
    get_position_embedding_ranks: Callable[[list[int]], Iterable[int]] | None = None,
    rank_offset: int = 0,
    local_world_size: int | None = None,
    within: Iterable[int] | None = None,
    **sizes: Any,
) -> Plan:
    """Plan the groups that `initialize_model_parallel` builds, and those that `create_all_gather_groups` adds.

    >>> plan(8, tensor_model_parallel_size=2)["DATA_PARALLEL_GROUP"].groups
    <2 groups: (0, 2, 4, 6), (1, 3, 5, 7)>

    Args:
        world_size: How many ranks there are.
        order: The axes, innermost first.
        virtual_pipeline_model_parallel_size: Only checked; it makes no groups.
        hierarchical_context_parallel_sizes: The levels of the context groups, innermost first.
        hybrid_context_parallel: Whether there are groups of each power of two along data and context.
        get_embedding_ranks: Which ranks of a pipeline have word embeddings; None for the first and the last.
        get_position_embedding_ranks: Which have position embeddings; None for the first.
        rank_offset: The first rank that the plan lives on.
        local_world_size: How many ranks the plan lives on; None for all.
        within: As in `pgregistry.plan`. Functions that choose ranks then get positions in it.
        **sizes: `tensor_model_parallel_size` and the like, as in `DENSE` and `EXPERT`; 1 if not given.

    Raises:
        ConfigError: if Megatron-Core refuses the arguments or breaks on them.
    """
    tokens, missing = _read(order)
    for name, value in {"rank_offset": rank_offset, "local_world_size": local_world_size}.items():
        if not isinstance(value, int | None):
            raise ConfigError(f"{name} = {value!r} is not a whole number.")
    within = None if within is None else tuple(within)
    if rank_offset or local_world_size is not None:
        if within is not None:
            raise ConfigError(f"within says the ranks already, beside {rank_offset=} and {local_world_size=}.")
        within = range(rank_offset, rank_offset + (world_size if local_world_size is None else local_world_size))
        if within.start < 0 or within.stop > world_size:
            raise ConfigError(f"{rank_offset=} and {local_world_size=} reach beyond {world_size=}.")
    dense, expert = groups.grids(order=tokens)
    modes = {mode.name: mode for mode in groups.modes(order=tokens)}
    first = plan_modes(world_size, [*modes.values(), Mode("expert pp", over=expert["pp"])], within=within, **sizes)
    size, levels = first.sizes, tuple(hierarchical_context_parallel_sizes or ())
    pp, cp, ep, instances = (size[name] for name in (DENSE["pp"], DENSE["cp"], EXPERT["ep"], INSTANCES))
    data, expert_data, both = (first[name].groups for name in DATA)
    pipes, expert_pipes = first["PIPELINE_MODEL_PARALLEL_GROUP"].groups, first["expert pp"].groups
    dp, expert_dp, dp_cp = len(data[0]), len(expert_data[0]), len(both[0])

    def refused() -> Iterator[str]:
        for name in [names[token] for token in missing for names in (DENSE, EXPERT) if token in names]:
            if size.get(name, 1) > 1:
                yield f"order = {order!r} has no place for {name} = {size[name]}."
        if pp > 1 and tokens[-1] != "pp" and dp != expert_dp:
            yield f"order = {order!r} does not end in pp, so {DENSE['dp']} = {dp} must be {EXPERT['dp']} = {expert_dp}."
        elif pipes != expert_pipes:
            yield f"order = {order!r} gives dense layers the pipelines {pipes}, and experts {expert_pipes}."
        if virtual_pipeline_model_parallel_size is not None and pp == 1:
            yield f"{virtual_pipeline_model_parallel_size=} needs {DENSE['pp']} > 1."
        if dp_cp % instances:
            yield f"{INSTANCES} = {instances} does not divide {DENSE['dp']} × {DENSE['cp']} = {dp_cp}."
        if hybrid_context_parallel and dp_cp % 2:
            yield f"hybrid_context_parallel needs an even {DENSE['dp']} × {DENSE['cp']}, not {dp_cp}."
        if levels and (min(levels) < 1 or prod(levels) != cp):
            yield f"hierarchical_context_parallel_sizes = {list(levels)} do not multiply to {DENSE['cp']} = {cp}."
        yield from groups.unsupported(size)

    if sentences := list(refused()):
        raise ConfigError("\n".join(sentences))
    for name, choose in zip(EMBEDDINGS, (get_embedding_ranks, get_position_embedding_ranks), strict=True):
        if choose is not None:
            modes[name] = _chosen(name, dense["pp"], choose, rank_offset)
    wanted = [mode for name, mode in modes.items() if groups.built(name, size)]
    cut = {f"HYBRID_DP_CP_GROUP_{2**n}": 2**n for n in range(1, dp_cp.bit_length() - 1) if hybrid_context_parallel}
    if instances > 1:
        cut["INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP"] = dp_cp // instances
    apart = [length for length, _ in first["DATA_PARALLEL_GROUP_WITH_CP"].factors() or ()]
    wanted += [groups.runs(name, (dense["dp"], dense["cp"]), n, not _fits(n, apart)) for name, n in cut.items()]
    wanted += groups.hierarchical(dense["cp"], levels)
    if tokens != list(ORDER):  # create_all_gather_groups ignores it
        dense, expert = groups.grids(alias="all_gather_")
    if size[DENSE["gtp_remat"]] == 1 and 1 in (ep, size[EXPERT["gtp_remat"]]) and not rank_offset:  # else it breaks
        wanted += list(groups.all_gather(dense, expert))[: 2 if ep > 1 else 1]
    return plan_modes(world_size, wanted, within=within, **sizes)


def _read(order: str) -> tuple[list[str], list[str]]:
    """Return the axes of an order, with those that it leaves out put in, and the axes that it leaves out."""
    tokens = str(order).lower().split("-")
    if "tp" not in tokens or not {*DENSE, *EXPERT}.issuperset(tokens) or len(set(tokens)) < len(tokens):
        raise ConfigError(f"order = {order!r} does not name tp, cp, ep, dp and pp once, as tp-cp-ep-dp-pp does.")
    at, missing = tokens.index("tp") + 1, [token for token in ORDER if token not in tokens]
    return [*tokens[:at], *missing, *tokens[at:]], missing


def _fits(run: int, axes: Sequence[int]) -> bool:
    """Return whether runs of neighbours are parts of axes that lie apart, outermost first."""
    for size in axes[:0:-1]:
        if run % size:
            return size % run == 0
        run //= size
    return len(axes) < 2 or axes[0] % run == 0


def _chosen(name: str, pp: groups.Part, choose: Callable[[list[int]], Iterable[int]], first: int) -> Mode:
    """Return a mode of the ranks that a function picks from each pipeline."""

    def groups(mesh: Mesh) -> Iterator[list[int]]:
        for pipe in mesh.groups(pp):
            yield sorted(rank - first for rank in choose([rank + first for rank in pipe]))

    return Mode(name, groups=groups)
