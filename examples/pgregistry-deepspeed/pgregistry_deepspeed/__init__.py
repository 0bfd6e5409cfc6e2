"""The groups that DeepSpeed's several managers of groups build, rank for rank."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pgregistry import FULL, WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes

#: What to plan: the modes, the names of those to keep, the sizes.
Asked: TypeAlias = tuple[Iterable[Mode], Iterable[str], dict[str, Any]]


def modes(prefix: str = "") -> Iterator[Mode]:
    """Yield all modes; `prefix` comes before every name of a mode and of a size."""
    yield from grid_modes(prefix)
    yield from block_modes("sequence_parallel_size", "sequence", prefix=prefix)
    yield Mode(f"{prefix}sequence_data", over=WORLD)
    yield from block_modes("group_size", "zero_param_intra", prefix=prefix)
    yield from block_modes("device_count", "all_to_all_local", "all_to_all_global", prefix=prefix)


def grid_modes(prefix: str = "", **names: str) -> Iterator[Mode]:
    """Yield the modes over pipe × data × model, outermost first; `names` has other names for the sizes.

    Experts take the inner `ep_size` of data, or with `ep_size_outer` the outer; `ep_size_lanes`
    makes their groups go on in the next lanes of the model axis.
    """

    def size(name: str) -> str:
        return prefix + names.get(name, name)

    model = Split(WORLD, inner=size("num_mp"))
    data = Split(model.outer, inner=size("num_dp"), outer=size("num_pp"), size=FULL)
    inner = Split(data, inner=size("ep_size"))
    outer = Split(inner.outer, outer=size("ep_size_outer"))
    lanes = Split(model, inner=size("ep_size_lanes"))

    yield Mode(f"{prefix}data", over=data)
    yield Mode(f"{prefix}pipe", over=data.outer)
    yield Mode(f"{prefix}slice", over=model)
    yield Mode(f"{prefix}ds_model", over=(data.outer, model))
    yield Mode(f"{prefix}expert", over=(outer.outer, inner, lanes))
    yield Mode(f"{prefix}expert_data", over=outer)
    yield Mode(f"{prefix}expert_data_lanes", over=(outer, lanes.outer))


def block_modes(
    size: str, inside: str, across: str | None = None, rest: str | None = None, prefix: str = ""
) -> Iterator[Mode]:
    """Yield a mode over adjacent ranks, and perhaps one across these blocks."""
    block = Split(WORLD, inner=prefix + size, outer=rest and prefix + rest)
    yield Mode(prefix + inside, over=block)
    if across:
        yield Mode(prefix + across, over=block.outer)


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, deepspeed_num_pp=2 deepspeed_num_mp=2: data 0 2 | 1 3 | 4 6 | 5 7."""
    return modes("deepspeed_")


def plan(
    world_size: int, *, api: str = "PipelineParallelGrid", within: Iterable[int] | None = None, **args: Any
) -> Plan:
    """Plan the groups that one of DeepSpeed's functions builds, with its arguments.

    >>> plan(8, api="_create_expert_and_data_parallel", ep_size=4)["expert_data"].groups
    <4 groups: (0, 4), (1, 5), (2, 6), (3, 7)>

    Args:
        world_size: How many ranks there are.
        api: The function, one of those in `APIS`.
        within: As in `pgregistry.plan`.
        **args: The function's arguments.

    Raises:
        ConfigError: if an argument does not fit, with what would.
    """
    if api not in APIS:
        raise ConfigError(f"api = {api!r} is not known. There are {', '.join(APIS)}.")
    known = list(inspect.signature(APIS[api]).parameters)[1:]
    if unknown := sorted(args.keys() - known):
        raise ConfigError(f"{api} takes no {', '.join(unknown)}. It takes {', '.join(known)}.")
    within = None if within is None else tuple(within)
    ranks = _whole("world_size", world_size) if within is None else len(within)
    asked, keep, sizes = APIS[api](ranks, **args)
    return plan_modes(world_size, asked, within=within, keep=keep, **sizes)


def _grid(
    ranks: int,
    num_pp: int | None = None,
    num_dp: int | None = None,
    num_mp: int = 1,
    ep_size: int | None = None,
    use_data_before_expert_parallel: bool = False,
) -> Asked:
    if num_pp is None:
        raise ConfigError("num_pp is missing: DeepSpeed would make up a grid from the prime factors of the world size.")
    keep = ["data", "pipe", "slice", "ds_model", *([] if ep_size is None else ["expert", "expert_data"])]
    names = {"ep_size": "ep_size_inner", "ep_size_outer": "ep_size"} if use_data_before_expert_parallel else {}
    sizes = {"num_pp": num_pp, "num_dp": num_dp, "num_mp": num_mp, "ep_size": ep_size}
    return grid_modes(**names), keep, sizes


def _expert(
    ranks: int,
    ep_size: int = 1,
    mp_size: int | None = None,
    pp_size: int | None = None,
    mp_mode: str = "tp",
    use_data_before_expert_parallel: bool = False,
    folding: Mapping[str, Any] | None = None,
) -> Asked:
    ep, mp, pp = _whole("ep_size", ep_size), _whole("mp_size", mp_size, 1), _whole("pp_size", pp_size, 1)
    if mp_mode not in ("tp", "sp"):
        raise ConfigError(f"mp_mode = {mp_mode!r} is neither 'tp' nor 'sp'.")
    if ranks % (pp * mp):
        raise ConfigError(f"pp_size × mp_size = {pp} × {mp} = {pp * mp} does not divide world size {ranks}.")
    if mp > 1 and use_data_before_expert_parallel:
        raise ConfigError(f"use_data_before_expert_parallel with mp_size = {mp} is not implemented in DeepSpeed.")
    if folding is not None:
        _check_folding(folding, {"world_size": ranks, "pp_size": pp_size, "tp_size": mp_size, "ep_size": ep})
    tp = mp if mp_mode == "tp" and folding is None else 1
    lane = ranks // pp // tp
    across = ep // lane if ep > lane else 1
    if lane * across % ep or tp % across:
        fits = [n for n in range(1, lane * tp + 1) if lane % n == 0 or (n % lane == 0 and tp % (n // lane) == 0)]
        why = f", each of whose {tp} lanes has {lane}: DeepSpeed would mix parts of lanes" if tp > 1 else ""
        raise ConfigError(
            f"ep_size = {ep} does not divide a stage of {lane * tp} ranks{why}.\n"
            f"  ep_size could be {', '.join(map(str, fits))}."
        )
    names = {"ep_size": "ep_size_inner", "ep_size_outer": "ep_size"} if use_data_before_expert_parallel else {}
    sizes = {"num_pp": pp, "num_mp": tp, "ep_size": ep // across, "ep_size_lanes": across}
    asked = {mode.name: mode for mode in grid_modes(**names)}
    asked["expert_data"] = replace(asked.pop("expert_data_lanes"), name="expert_data")
    return asked.values(), ["expert", "expert_data"], sizes


def _check_folding(folding: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Raise ConfigError if a folding spec is for other sizes, or if DeepSpeed does not carry it out."""
    if not isinstance(folding, Mapping) or not folding.keys() <= {*said, "etp_size", "mp_mode"}:
        raise ConfigError(f"folding = {folding!r} is not a mapping of {', '.join([*said, 'etp_size'])} and mp_mode.")
    if folding.get("etp_size", 1) != 1:
        raise ConfigError(
            f"folding: etp_size = {folding['etp_size']!r} cannot be: DeepSpeed's groups leave no room for it, so that "
            "expert_data holds etp_size times as many ranks as the spec says."
        )
    for name, value in said.items():
        if value is not None and name in folding and folding[name] != value:
            raise ConfigError(f"folding: {name} = {folding[name]!r}, but the groups are made for {value}.")


def _tensor_mesh(ranks: int, tensor_model_parallel_size: int = 1, data_parallel_size: int | None = None) -> Asked:
    sizes = {"tensor_model_parallel_size": tensor_model_parallel_size, "data_parallel_size": data_parallel_size}
    return block_modes("tensor_model_parallel_size", "tensor", "data", "data_parallel_size"), ["tensor", "data"], sizes


def _model(ranks: int, model_parallel_size: int = 1) -> Asked:
    size = min(_whole("model_parallel_size", model_parallel_size), ranks)
    return block_modes("model_parallel_size", "model", "data"), ["model", "data"], {"model_parallel_size": size}


def _sequence(ranks: int, sequence_parallel_size: int = 1) -> Asked:
    size = _whole("sequence_parallel_size", sequence_parallel_size)
    if size == 1:
        raise ConfigError("sequence_parallel_size = 1 is refused by DeepSpeed; it takes 2 or more.")
    asked = [*block_modes("sequence_parallel_size", "sequence"), Mode("sequence_data", over=WORLD)]
    return asked, ["sequence", "sequence_data"], {"sequence_parallel_size": size}


def _zero_param(ranks: int, group_size: int = 1) -> Asked:
    size = min(_whole("group_size", group_size), ranks)
    return block_modes("group_size", "zero_param_intra"), ["zero_param_intra"], {"group_size": size}


def _all_to_all(ranks: int, device_count: int = 1) -> Asked:
    size = min(_whole("device_count", device_count), ranks)
    keep = ["all_to_all_local", *(["all_to_all_global"] if size < ranks else [])]
    return block_modes("device_count", "all_to_all_local", "all_to_all_global"), keep, {"device_count": size}


#: DeepSpeed's functions that build groups, each with the function that plans them here.
APIS: Final[Mapping[str, Callable[..., Asked]]] = {
    "PipelineParallelGrid": _grid,
    "_create_expert_and_data_parallel": _expert,
    "_init_tp_mesh_device": _tensor_mesh,
    "_create_model_parallel": _model,
    "initialize_sequence_parallel": _sequence,
    "_create_zero_param_parallel_group": _zero_param,
    "_get_local_all_to_all_group": _all_to_all,
}


def _whole(name: str, value: Any, default: int | None = None) -> int:
    """Return a whole number from 1; raise ConfigError for anything else."""
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} = {value!r} is not a whole number from 1.")
    return value
