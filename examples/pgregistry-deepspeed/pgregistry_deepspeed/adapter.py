"""The adapter from a context to DeepSpeed: an `mpu`, and the groups of its layers of experts.

with pgregistry.init(tensor=2) as context:
    engine, *_ = deepspeed.initialize(model=model, mpu=Mpu(context), config=config, dist_init_required=False)
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any, Final

from pgregistry import ConfigError, GroupHandle, ParallelContext

TRIED: Final = "0.19.8"
#: The middle of the names of DeepSpeed's methods, each with the bundled mode and that of this distribution.
MODES: Final = {
    "data_parallel": ("data", "deepspeed_data"),
    "model_parallel": ("model", "deepspeed_ds_model"),
    "tensor_model_parallel": ("tensor", "deepspeed_slice"),
    "pipeline_model_parallel": ("pipe", "deepspeed_pipe"),
}
#: What to do if a mode of `mpu`, or one of experts, is not there.
BUNDLED: Final = "Enable its plugin: the bundled ones, or init(enable=['deepspeed']) for those of this distribution."
NAMED: Final = (
    "Enable a plugin that has it, or name the modes, for those of this distribution with "
    "give_experts(context, expert='deepspeed_expert', expert_data='deepspeed_expert_data')."
)
#: What `give_experts` touches of `deepspeed.utils.groups`.
GROUPS: Final = (
    *("_EXPERT_PARALLEL_GROUP", "_EXPERT_PARALLEL_GROUP_RANKS"),
    *("_EXPERT_DATA_PARALLEL_GROUP", "_EXPERT_DATA_PARALLEL_GROUP_RANKS"),
)


class Mpu:
    """The object that `deepspeed.initialize(mpu=…)` takes.

    For each of data_parallel, model_parallel, tensor_model_parallel and pipeline_model_parallel it has
    `get_…_group()`, `get_…_rank()`, `get_…_world_size()`, `get_…_src_rank()` and `get_…_group_ranks()`.

    Raises:
        ConfigError: if the plan lacks one of the modes.
    """

    def __init__(self, context: ParallelContext) -> None:
        at = 1 if "deepspeed_data" in context.plan and "data" not in context.plan else 0
        for name, modes in MODES.items():
            handle = _needed(context, modes[at], BUNDLED)
            setattr(self, f"get_{name}_group", lambda handle=handle: handle.group)
            setattr(self, f"get_{name}_rank", lambda handle=handle: handle.rank)
            setattr(self, f"get_{name}_world_size", lambda handle=handle: handle.size)
            setattr(self, f"get_{name}_src_rank", lambda handle=handle: handle.first)
            setattr(self, f"get_{name}_group_ranks", lambda handle=handle: list(handle.ranks))


def give_experts(context: ParallelContext, *, expert: str = "expert", expert_data: str = "expert_data") -> None:
    """Give DeepSpeed the groups that `deepspeed.moe.layer.MoE(ep_size=…)` would make, before the layer is made.

    Args:
        context: Has the modes. Call it again with the next context: DeepSpeed keeps the groups.
        expert: The mode of the ranks that share the experts of a layer.
        expert_data: The mode of the ranks that have the same experts.

    Raises:
        ConfigError: if DeepSpeed is not installed or lacks what is touched, or the plan lacks a mode.
    """
    groups = _groups()
    experts, copies = (_needed(context, mode, NAMED) for mode in (expert, expert_data))
    name = f"ep_size_{experts.size}"
    for attribute, handle in zip(GROUPS[::2], (experts, copies), strict=True):
        getattr(groups, attribute)[name] = handle.group
        getattr(groups, f"{attribute}_RANKS")[name] = list(handle.ranks)


def _needed(context: ParallelContext, mode: str, remedy: str) -> GroupHandle:
    handle = context.get(mode) if mode in context.plan else None
    if handle is None:
        raise ConfigError(f"DeepSpeed {TRIED} needs the mode {mode!r}, and the plan has none on this rank.\n  {remedy}")
    return handle


def _groups() -> Any:
    """Return DeepSpeed's module of groups."""
    try:
        groups = importlib.import_module("deepspeed.utils.groups")
    except ImportError as error:
        raise ConfigError(
            f"pgregistry_deepspeed.adapter needs deepspeed {TRIED}, which cannot be imported: {error}.\n"
            f"  Install it: pip install deepspeed=={TRIED}"
        ) from None
    if missing := [name for name in GROUPS if not hasattr(groups, name)]:
        raise ConfigError(
            f"{_installed()} has no deepspeed.utils.groups.{missing[0]}; "
            f"pgregistry_deepspeed.adapter was tried with {TRIED}.\n"
            f"  Install that version: pip install deepspeed=={TRIED}"
        )
    return groups


def _installed() -> str:
    """Return the package with its version; a clone on PYTHONPATH has none."""
    try:
        return f"deepspeed {importlib.metadata.version('deepspeed')}"
    except importlib.metadata.PackageNotFoundError:
        return "This deepspeed"
