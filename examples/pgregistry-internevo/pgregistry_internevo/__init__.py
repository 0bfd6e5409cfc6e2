"""The groups of InternEvo's table-driven initializers, rank for rank."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pgregistry import FULL, WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes

#: The sections of `parallel`, each with the keys that change groups and their defaults. A number stands for a size.
SECTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tensor": {"size": 1, "mode": "mtp"},
    "pipeline": {"size": 1},
    "zero1": {"size": -1, "fsdp": False},
    "weight": {"size": 1},
    "expert": {"size": -1, "no_tp": False},
    "expert_weight": {"size": 1},
    "sequence_2D": {
        "enable": False,
        "head_size": 1,
        "context_size": 1,
        "window_size": 1,
        "device_placement_strategy": {"head_first": True, "interleaved": False},
    },
}
#: The keys of `parallel` that change no group.
ELSEWHERE: Final = {
    "parallel": ("sequence_parallel",),
    "pipeline": ("interleaved_overlap", "mode", "zero_bubble"),
    "weight": ("overlap", "launch_allgather_before", "forward_overlap_per", "memory_pool"),
    "expert_weight": ("overlap", "launch_allgather_before", "forward_overlap_per"),
}
#: Sections whose size can be -1.
REST: Final = ("zero1", "expert")


def modes(prefix: str = "") -> Iterator[Mode]:
    """Yield all modes; `prefix` comes before every name of a mode and of a size.

    Outermost first, the world is pipeline × data × tensor. A stage is also weight_data × weight and
    expert_data × expert × expert_weight. Weight is as large as tensor by default, so one set of
    modes serves mtp, msp and fsp (leave weight and expert_weight out) as well as isp.
    """
    pipe = Split(WORLD, outer=f"{prefix}pipeline")
    tensor = Split(pipe.inner, inner=f"{prefix}tensor")
    weight = Split(pipe.inner, inner=f"{prefix}weight", size=f"{prefix}tensor")
    zero1 = Split(weight.outer, inner=f"{prefix}zero1", size=FULL)
    expert_tensor = Split(pipe.inner, inner=f"{prefix}expert_tensor", size=f"{prefix}tensor")
    expert_weight = Split(pipe.inner, inner=f"{prefix}expert_weight", size=f"{prefix}expert_tensor")
    expert = Split(expert_weight.outer, inner=f"{prefix}expert")
    # head is on both sides of context, and one of the two is 1: so either can be first.
    head = Split(tensor, inner=f"{prefix}head")
    context = Split(head.outer, inner=f"{prefix}context", size=FULL)
    # Interleaved windows go in pairs: neighbours are in the two windows of a pair.
    pair = Split(context, inner=f"{prefix}window_pair")
    window = Split(pair.outer, inner=f"{prefix}window")

    yield Mode(f"{prefix}pipe", over=pipe.outer)
    yield Mode(f"{prefix}tensor", over=tensor)
    yield Mode(f"{prefix}data", over=tensor.outer)
    yield Mode(f"{prefix}weight", over=weight)
    yield Mode(f"{prefix}weight_data", over=weight.outer)
    yield Mode(f"{prefix}zero1", over=zero1)
    yield Mode(f"{prefix}nettest", over=Split(WORLD, inner=f"{prefix}nettest", size=32, ragged=True))
    yield Mode(f"{prefix}expert_tensor", over=expert_tensor)
    yield Mode(f"{prefix}expert_weight", over=expert_weight)
    yield Mode(f"{prefix}expert", over=expert)
    yield Mode(f"{prefix}expert_data", over=expert.outer)
    yield Mode(f"{prefix}head", over=(context.outer, head))
    yield Mode(f"{prefix}context", over=context)
    for copy in ("", "dkv_"):  # its own process groups, to move two things at once
        yield Mode(f"{prefix}{copy}intra_window", over=window, dedicated=bool(copy))
        yield Mode(f"{prefix}{copy}inter_window", over=(window.outer, pair), dedicated=bool(copy))


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, internevo_pipeline=2 internevo_tensor=2: data 0 2 | 1 3 | 4 6 | 5 7, pipe 0 4 | 1 5 | 2 6 | 3 7."""
    return modes("internevo_")


def plan(
    world_size: int,
    *,
    parallel: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    within: Iterable[int] | None = None,
    **unknown: Any,
) -> Plan:
    """Plan the groups that InternEvo builds for a configuration, under the names of its ParallelMode.

    >>> plan(8, parallel={"tensor": {"size": 2, "mode": "mtp"}, "pipeline": 2}).modes
    ('nettest', 'pipe', 'tensor', 'data', 'zero1')

    Args:
        world_size: How many ranks there are.
        parallel: The dictionary of that name in an InternEvo configuration.
        model: Likewise; only `num_experts` counts.
        within: As in `pgregistry.plan`.
        **unknown: Any other argument is an error.

    Raises:
        ConfigError: if the configuration does not fit, with what would.
    """
    if unknown:
        raise ConfigError(f"plan() takes parallel= and model=, as in an InternEvo configuration, not {[*unknown]}.")
    said = _read({} if parallel is None else parallel)
    experts = _experts({} if model is None else model)
    within = None if within is None else tuple(within)
    strategy = said["tensor"]["mode"]
    if strategy not in ("mtp", "msp", "fsp", "isp"):
        raise ConfigError(f"tensor mode = {strategy!r} is none of 'mtp', 'msp', 'fsp' and 'isp'.")
    tables = {name: table for name, table in said.items() if "size" in table}
    size = {name: _number(f"{name}: size", table["size"], name in REST) for name, table in tables.items()}
    sizes: dict[str, Any] = {"pipeline": size["pipeline"], "tensor": size["tensor"], "zero1": size["zero1"]}
    keep = ["nettest", "tensor", "data", "zero1", *["pipe"] * (size["pipeline"] > 1)]
    ranks = _number("world_size", world_size) if within is None else len(within)
    for inside in ("tensor", "weight"):  # weight too, although it may make no groups
        if ranks % (size["pipeline"] * size[inside]):
            terms = f"{size['pipeline']} × {size[inside]} = {size['pipeline'] * size[inside]}"
            raise ConfigError(f"pipeline × {inside} = {terms} does not divide world size {ranks}.")
    stage = ranks // size["pipeline"]
    data = stage // size["tensor"]
    if strategy == "isp":
        sizes |= {"weight": size["weight"], "expert_weight": size["expert_weight"]}
        keep += ["weight", "weight_data"]
    sizes["expert_tensor"] = 1 if said["expert"]["no_tp"] else size["tensor"]
    sizes["expert"] = size["expert"] or min(stage // sizes["expert_tensor"], experts)
    if experts % sizes["expert"] or (data % experts and experts % data):
        raise ConfigError(
            f"num_experts = {experts} cannot be placed evenly: it takes a multiple of expert = {sizes['expert']}, "
            f"and a multiple or a divisor of data = {data}."
        )
    if experts > 1:
        keep += ["expert", "expert_data", "expert_weight" if strategy == "isp" else "expert_tensor"]
    if said["sequence_2D"]["enable"]:
        sizes |= _sequence_2d(said["sequence_2D"], size["tensor"])
        windows = ("intra_window", "inter_window")
        keep += ["head", "context", *windows, *(f"dkv_{window}" for window in windows)]
    return plan_modes(world_size, modes(), within=within, keep=keep, **sizes)


def _sequence_2d(said: Mapping[str, Any], tensor: int) -> dict[str, int]:
    """Return the sizes of heads, context and windows."""
    head, context, window = (_number(name, said[name]) for name in ("head_size", "context_size", "window_size"))
    placement = said["device_placement_strategy"]
    if head * context != tensor:
        raise ConfigError(f"head_size × context_size = {head} × {context} is not tensor = {tensor}.")
    if context % window:
        raise ConfigError(f"window_size = {window} does not divide context_size = {context}.")
    paired = placement["interleaved"] and window > 1
    if paired and context // window % 2:
        raise ConfigError(
            f"interleaved windows go in pairs, but context_size / window_size = {context} / {window} is odd: "
            "InternEvo fails with an index out of range."
        )
    return {
        "head": head if placement["head_first"] else 1,
        "context": context,
        "window": window,
        "window_pair": 2 if paired else 1,
    }


def _experts(model: Mapping[str, Any]) -> int:
    """Return the number of experts of a model."""
    if not isinstance(model, Mapping):
        raise ConfigError(f"model = {model!r} is not a table.")
    if slips := difflib.get_close_matches("num_experts", set(map(str, model)) - {"num_experts"}, cutoff=0.85):
        raise ConfigError(f"model has {slips[0]!r}; is it 'num_experts'?")  # other keys of a model change no group
    experts: int = _number("num_experts", model.get("num_experts", 1))
    return experts


def _read(parallel: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all sections of `parallel` with their defaults; raise ConfigError for what InternEvo cannot carry out."""
    _check_keys("parallel", parallel, {*SECTIONS, "gqa", *ELSEWHERE["parallel"]})
    if parallel.get("gqa"):
        raise ConfigError("gqa: InternEvo 0.5.3 builds no such groups, and the last version that did built wrong ones.")
    said = {name: _section(name, parallel.get(name, {}), defaults) for name, defaults in SECTIONS.items()}
    if said["zero1"]["fsdp"]:
        raise ConfigError("zero1: fsdp ends in a KeyError in InternEvo 0.5.3, which has no size for its groups.")
    return said


def _section(name: str, given: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return one table with its defaults; a number stands for its size."""
    table = {"size": given} if isinstance(given, int) else given
    _check_keys(name, table, {*defaults, *ELSEWHERE.get(name, ())})
    inner = {key: value for key, value in defaults.items() if isinstance(value, Mapping)}
    return {**defaults, **table, **{key: _section(key, table.get(key, {}), value) for key, value in inner.items()}}


def _check_keys(what: str, table: Any, known: set[str]) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{what} = {table!r} is not a table of {', '.join(sorted(known))}.")
    if unknown := sorted(map(str, table.keys() - known)):
        raise ConfigError(f"{what} has no {', '.join(unknown)}. It takes {', '.join(sorted(known))}.")


def _number(name: str, value: Any, rest: bool = False) -> Any:
    """Return a whole number from 1, or None for -1 if that means the rest; raise ConfigError for anything else."""
    if rest and value == -1:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} = {value!r} is not a whole number from 1{', nor -1' * rest}.")
    return value
