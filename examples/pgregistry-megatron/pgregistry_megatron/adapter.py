"""Megatron-Core on the process groups of a context: a `ProcessGroupCollection`, or `parallel_state` filled.

with pgregistry.init(only=["megatron"], megatron_tensor_model_parallel_size=2) as context:
    model = GPTModel(…, pg_collection=collection(context))
    fill(context)  # for code that asks parallel_state
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable
from typing import Any, Final

import torch.distributed as dist

from pgregistry import BuildError, ConfigError, ParallelContext
from pgregistry_megatron.groups import PREFIX

TRIED: Final = "0.16.1"
#: The fields of `ProcessGroupCollection`, each with the modes that it takes, the first that the plan has.
FIELDS: Final = {
    "tp": ("TENSOR_MODEL_PARALLEL_GROUP",),
    "pp": ("PIPELINE_MODEL_PARALLEL_GROUP",),
    "mp": ("MODEL_PARALLEL_GROUP",),
    "embd": ("EMBEDDING_GROUP",),
    "pos_embd": ("POSITION_EMBEDDING_GROUP",),
    "cp": ("CONTEXT_PARALLEL_GROUP",),
    "tp_cp": ("TENSOR_AND_CONTEXT_PARALLEL_GROUP",),
    "ep": ("EXPERT_MODEL_PARALLEL_GROUP",),
    "expt_tp": ("EXPERT_TENSOR_PARALLEL_GROUP",),
    "tp_ep": ("EXPERT_TENSOR_AND_MODEL_PARALLEL_GROUP",),
    "tp_ep_pp": ("EXPERT_TENSOR_MODEL_PIPELINE_PARALLEL_GROUP",),
    "tp_dp_cp": ("TENSOR_AND_DATA_PARALLEL_GROUP_WITH_CP",),
    "dp": ("DATA_PARALLEL_GROUP",),
    "dp_cp": ("DATA_PARALLEL_GROUP_WITH_CP",),
    "expt_dp": ("EXPERT_DATA_PARALLEL_GROUP",),
    "intra_dp_cp": ("INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP", "DATA_PARALLEL_GROUP_WITH_CP"),
    "intra_expt_dp": ("HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L0", "EXPERT_DATA_PARALLEL_GROUP"),
    "intra_dist_opt": ("INTRA_DISTRIBUTED_OPTIMIZER_INSTANCE_GROUP",),
}
#: Fields of versions after 0.16.1. Those of gtp_remat are other groups only if its size is above 1.
NEWER_FIELDS: Final = {
    "tp_ep_pp_with_egtp_remat": ("EXPERT_TENSOR_MODEL_PIPELINE_PARALLEL_GROUP_WITH_EGTP", *FIELDS["tp_ep_pp"]),
    "dp_cp_gtp_remat": ("DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT", *FIELDS["dp_cp"]),
    "gtp_remat": ("GTP_WEIGHT_REMAT_GROUP",),
    "expt_gtp_remat": ("EXPERT_GTP_WEIGHT_REMAT_GROUP",),
    "expt_dp_gtp_remat": ("EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT", *FIELDS["expt_dp"]),
}
#: The lists of ranks in `parallel_state`, each with its mode.
RANKS: Final = {
    "_TENSOR_MODEL_PARALLEL_GLOBAL_RANKS": "TENSOR_MODEL_PARALLEL_GROUP",
    "_PIPELINE_GLOBAL_RANKS": "PIPELINE_MODEL_PARALLEL_GROUP",
    "_DATA_PARALLEL_GLOBAL_RANKS": "DATA_PARALLEL_GROUP",
    "_DATA_PARALLEL_GLOBAL_RANKS_WITH_CP": "DATA_PARALLEL_GROUP_WITH_CP",
    "_CONTEXT_PARALLEL_GLOBAL_RANKS": "CONTEXT_PARALLEL_GROUP",
    "_MODEL_PARALLEL_GLOBAL_RANKS": "MODEL_PARALLEL_GROUP",
    "_EXPERT_MODEL_PARALLEL_RANKS": "EXPERT_MODEL_PARALLEL_GROUP",
}
#: Process groups of `parallel_state` that have no mode of their own name, each with the mode that they are.
SAME: Final = {
    "_INTRA_PARTIAL_EXPERT_DATA_PARALLEL_GROUP": "intra_expt_dp",
    "_INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP": "intra_dp_cp",
}
#: The same of versions after 0.16.1, which have gtp_remat only without instances.
NEWER_RANKS: Final = {
    "_GTP_WEIGHT_REMAT_GLOBAL_RANKS": "GTP_WEIGHT_REMAT_GROUP",
    "_EXPERT_GTP_WEIGHT_REMAT_GLOBAL_RANKS": "EXPERT_GTP_WEIGHT_REMAT_GROUP",
}
NEWER_SAME: Final = {
    "_INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT": (
        "DATA_PARALLEL_GROUP_WITH_CP_WITH_GTP_REMAT",
        *FIELDS["intra_dp_cp"],
    ),
    "_INTRA_PARTIAL_EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT": (
        "EXPERT_DATA_PARALLEL_GROUP_WITH_GTP_REMAT",
        *FIELDS["intra_expt_dp"],
    ),
}
GLOO: Final = ("DATA_PARALLEL_GROUP", "DATA_PARALLEL_GROUP_WITH_CP", "EXPERT_DATA_PARALLEL_GROUP")
BUFFER: Final = "_GLOBAL_MEMORY_BUFFER"
OTHERS: Final = ("_EMBEDDING_GLOBAL_RANKS", "_POSITION_EMBEDDING_GLOBAL_RANKS", BUFFER, "GlobalMemoryBuffer")


def collection(context: ParallelContext) -> Any:
    """Return a `ProcessGroupCollection` of the process groups of a context, None for what this rank is not in.

    Raises:
        ConfigError: if Megatron-Core is not installed or lacks what is touched, or the plan lacks a mode.
    """
    theirs = _theirs("megatron.core.process_groups_config", ["ProcessGroupCollection"]).ProcessGroupCollection
    fields = [*FIELDS, "inter_dist_opt", "hcp"]
    _theirs("megatron.core.process_groups_config.ProcessGroupCollection", fields, theirs.__dataclass_fields__)
    instances = f"{_prefix(context)}HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L1"
    levels = [mode for mode in context if "HIERARCHICAL_CONTEXT_PARALLEL_GROUP_L" in mode]
    newer = {name: modes for name, modes in NEWER_FIELDS.items() if name in theirs.__dataclass_fields__}
    return theirs(
        **{name: context.group(_mode(context, modes), default=None) for name, modes in {**FIELDS, **newer}.items()},
        inter_dist_opt=context.group(instances, default=None) if instances in context.plan else None,
        hcp=[context[mode].group for mode in sorted(levels)] or None,
    )


def fill(context: ParallelContext) -> tuple[str, ...]:
    """Fill `megatron.core.parallel_state` with the process groups of a context; `empty()` takes them out again.

    Do not call `destroy_model_parallel()`, which destroys process groups that the context closes.

    Returns:
        The modes that this version of Megatron-Core has no name for.

    Raises:
        ConfigError: if Megatron-Core is not installed or lacks what is touched, or the plan lacks a mode.
    """
    state = _theirs("megatron.core.parallel_state", [*RANKS, *SAME, *OTHERS, *(f"_{name}_GLOO" for name in GLOO)])
    for modes in FIELDS.values():
        _mode(context, modes)
    prefix, unknown = _prefix(context), []
    for mode in context.plan:
        name = f"_{mode.removeprefix(prefix)}"
        if hasattr(state, name):
            setattr(state, name, context.group(mode, default=None))
        elif mode.startswith(prefix):
            unknown.append(mode)
    newer = {name: mode for name, mode in NEWER_RANKS.items() if hasattr(state, name)}
    for name, mode in {**RANKS, **newer}.items():
        setattr(state, name, list(context[_mode(context, (mode,))].ranks))
    same = {name: FIELDS[field] for name, field in SAME.items()}
    same |= {name: modes for name, modes in NEWER_SAME.items() if hasattr(state, name)}
    for name, modes in same.items():
        setattr(state, name, context.group(_mode(context, modes), default=None))
    stages = context[f"{prefix}PIPELINE_MODEL_PARALLEL_GROUP"].ranks
    state._EMBEDDING_GLOBAL_RANKS = sorted({stages[0], stages[-1]})  # known on the stages between, too
    state._POSITION_EMBEDDING_GLOBAL_RANKS = [stages[0]]
    for name in GLOO:
        setattr(state, f"_{name}_GLOO", _gloo(context, prefix + name))
    setattr(state, BUFFER, state.GlobalMemoryBuffer())
    return tuple(unknown)


def empty() -> None:
    """Take all process groups and ranks out of `megatron.core.parallel_state`."""
    state = _theirs("megatron.core.parallel_state", [])
    for name in vars(state):
        if name.startswith("_") and ("_GROUP" in name or "_RANKS" in name or name == BUFFER) and name.isupper():
            setattr(state, name, {} if isinstance(getattr(state, name), dict) else None)


def _prefix(context: ParallelContext) -> str:
    return PREFIX if f"{PREFIX}TENSOR_MODEL_PARALLEL_GROUP" in context.plan else ""


def _mode(context: ParallelContext, modes: Iterable[str]) -> str:
    """Return the first of these modes that the plan has.

    Raises:
        ConfigError: if it has none.
    """
    names = [_prefix(context) + mode for mode in modes]
    for name in names:
        if name in context.plan:
            return name
    raise ConfigError(
        f"megatron-core {TRIED} needs the mode {names[-1]!r}, and the plan has none.\n"
        "  Enable the plugin, init(enable=['megatron']), or build pgregistry_megatron.plan(…) with init(plan=…)."
    )


def _gloo(context: ParallelContext, mode: str) -> dist.ProcessGroup | None:
    """Return the gloo process group of a mode, None if the run asked for none."""
    try:
        return context[mode].cpu_group
    except BuildError:
        return None


def _theirs(module: str, names: Iterable[str], there: Iterable[str] | None = None) -> Any:
    """Return a module of Megatron-Core that has these names.

    Raises:
        ConfigError: if it is not installed, or lacks one.
    """
    found = None
    if there is None:
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(
                f"pgregistry_megatron.adapter needs megatron-core {TRIED}, which cannot be imported: {error}.\n"
                f"  Install it: pip install megatron-core=={TRIED}"
            ) from None
    has = set(dir(found) if there is None else there)
    if missing := [name for name in names if name not in has]:
        raise ConfigError(
            f"{_installed()} has no {module}.{missing[0]}; pgregistry_megatron.adapter was tried with {TRIED}.\n"
            f"  Install that version: pip install megatron-core=={TRIED}"
        )
    return found


def _installed() -> str:
    """Return the package with its version; a clone on PYTHONPATH has none."""
    try:
        return f"megatron-core {importlib.metadata.version('megatron-core')}"
    except importlib.metadata.PackageNotFoundError:
        return "This megatron-core"
