"""InternLM's `gpc` on a context: for code that was written against it, and the real one of InternEvo filled.

with pgregistry.init(tensor=2, pipe=2) as context:
    gpc = Gpc(context)
    dist.all_reduce(gradient, group=gpc.get_group(ParallelMode.DATA))
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import torch.distributed as dist

from pgregistry import ConfigError, GroupHandle, ParallelContext

TRIED: Final = "InternEvo 0.5.2"
#: The modes that InternLM always has; the plan must have them.
NEEDED: Final = ("data", "pipe", "tensor", "zero1")
#: What `register` touches of InternEvo's `gpc`.
TOUCHED: Final = (
    *("_register_dist", "_global_ranks", "world_size", "data_parallel_size", "pipeline_parallel_size"),
    *("tensor_parallel_size", "zero1_parallel_size"),
)


class ParallelMode(Enum):
    """InternLM's names of modes."""

    GLOBAL = "global"
    DATA = "data"
    MODEL = "model"
    PIPELINE = "pipe"
    TENSOR = "tensor"
    ZERO1 = "zero1"
    NETTEST = "nettest"
    EXPERT = "expert"
    EXPERT_DATA = "expert_data"
    WEIGHT = "weight"
    WEIGHT_DATA = "weight_data"
    DUMMY = "dummy"


class Gpc:
    """Answer what InternLM's code asks `gpc`, from a context: the bundled modes, or those of this distribution."""

    def __init__(self, context: ParallelContext) -> None:
        self.context = context
        self._prefix = _prefix(context)
        self.world_size = context.world_size
        self.data_parallel_size, self.pipeline_parallel_size, self.tensor_parallel_size, self.zero1_parallel_size = (
            context[self._prefix + name].size for name in NEEDED
        )
        self.virtual_pipeline_parallel_size: int | None = None
        self.virtual_pipeline_parallel_rank: int | None = None

    def is_initialized(self, mode: Enum) -> bool:
        """Return True if this rank has a group of the mode; InternLM makes none of a pipeline of one stage."""
        handle = self._handle(mode)
        return handle is not None and not (mode.value == "pipe" and handle.size == 1)

    def is_using_parallel_mode(self, mode: Enum) -> bool:
        """Return True if the group of the mode has several ranks."""
        return self.is_initialized(mode) and self.get_world_size(mode) > 1

    def get_global_rank(self) -> int:
        """Return the rank of this process."""
        return self.context.rank

    def get_local_rank(self, mode: Enum) -> int:
        """Return the position in the group, 0 without one."""
        handle = self._handle(mode)
        return handle.rank if handle else 0

    def get_world_size(self, mode: Enum) -> int:
        """Return the size of the group, 1 without one."""
        handle = self._handle(mode)
        return handle.size if handle else 1

    def get_group(self, mode: Enum) -> dist.ProcessGroup:
        """Return the process group."""
        return self._there(mode).group

    def get_cpu_group(self, mode: Enum) -> dist.ProcessGroup:
        """Return the gloo process group."""
        return self._there(mode).cpu_group

    def get_ranks_in_group(self, mode: Enum) -> list[int]:
        """Return the global ranks of the group."""
        return list(self._there(mode).ranks)

    def get_next_global_rank(self, mode: Enum) -> int:
        """Return the global rank after this one in the group, as in a ring."""
        return self._there(mode).next

    def get_prev_global_rank(self, mode: Enum) -> int:
        """Return the global rank before this one in the group, as in a ring."""
        return self._there(mode).previous

    def is_first_rank(self, mode: Enum) -> bool:
        """Return True if this rank is the first of the group; True without one."""
        handle = self._handle(mode)
        return handle is None or handle.is_first

    def is_last_rank(self, mode: Enum) -> bool:
        """Return True if this rank is the last of the group; True without one."""
        handle = self._handle(mode)
        return handle is None or handle.is_last

    def is_rank_for_log(self) -> bool:
        """Return True on the rank that InternLM logs from."""
        first = all(self.is_first_rank(mode) for mode in (ParallelMode.TENSOR, ParallelMode.DATA))
        return first and self.is_last_rank(ParallelMode.PIPELINE)

    def is_pipeline_first_stage(self, ignore_virtual: bool = False) -> bool:
        """Return True on the first stage, and there in the first chunk of a virtual pipeline."""
        if not ignore_virtual and self.virtual_pipeline_parallel_size is not None:
            return self.virtual_pipeline_parallel_rank == 0 and self.is_first_rank(ParallelMode.PIPELINE)
        return self.is_first_rank(ParallelMode.PIPELINE)

    def is_pipeline_last_stage(self, ignore_virtual: bool = False) -> bool:
        """Return True on the last stage, and there in the last chunk of a virtual pipeline."""
        size = self.virtual_pipeline_parallel_size
        if not ignore_virtual and size is not None and self.virtual_pipeline_parallel_rank != size - 1:
            return False
        return self.is_last_rank(ParallelMode.PIPELINE)

    def is_no_pp_or_last_stage(self) -> bool:
        """Return True on the ranks that compute the loss."""
        return not self.is_initialized(ParallelMode.PIPELINE) or self.is_last_rank(ParallelMode.PIPELINE)

    def set_virtual_pipeline_parallel_size(self, size: int | None) -> None:
        """Set how many chunks of layers each stage has."""
        self.virtual_pipeline_parallel_size = size

    def set_virtual_pipeline_parallel_rank(self, rank: int | None) -> None:
        """Set the chunk that runs now."""
        self.virtual_pipeline_parallel_rank = rank

    def init_dist_group(self, mode: Enum, use_cpu: bool = False) -> tuple[Any, ...]:
        """Return InternLM's six-tuple: position, size, process group, gloo process group, ranks, mode."""
        handle = self._handle(mode)
        if handle is None:
            return None, None, None, None, None, mode
        cpu_group = handle.cpu_group if use_cpu else None
        return handle.rank, handle.size, handle.group, cpu_group, list(handle.ranks), mode

    def destroy(self) -> None:
        """Close the context."""
        self.context.close()

    def _handle(self, mode: Enum) -> GroupHandle | None:
        name = self._prefix + mode.value
        return self.context.get(name) if name in self.context.plan else None

    def _there(self, mode: Enum) -> GroupHandle:
        return self.context[self._prefix + mode.value]


def register(context: ParallelContext, gpc: Any, modes: Iterable[Enum]) -> None:
    """Fill the real `gpc` of InternEvo: each of its `ParallelMode` that the plan has, by `_register_dist`.

        from internlm.core.context import ParallelMode, global_context
        register(context, global_context, ParallelMode)

    Raises:
        ConfigError: if `gpc` lacks what is touched, or the plan lacks a mode that InternEvo needs.
    """
    if missing := [name for name in TOUCHED if not hasattr(gpc, name)]:
        raise ConfigError(
            f"{_installed()} has no gpc.{missing[0]}; pgregistry_internevo.adapter was tried with {TRIED}.\n"
            "  Install that version, or use pgregistry_internevo.adapter.Gpc in the place of gpc."
        )
    ours = Gpc(context)
    for mode in modes:
        handle = ours._handle(mode)
        if handle is not None:
            gpc._register_dist(handle.rank, handle.size, handle.group, None, list(handle.ranks), mode)
            if mode.value == "global":
                gpc._global_ranks[mode] = context.rank
    for name in TOUCHED[2:]:
        setattr(gpc, name, getattr(ours, name))


def _prefix(context: ParallelContext) -> str:
    """Return what the names of the modes begin with.

    Raises:
        ConfigError: if the plan has neither the bundled modes nor those of this distribution.
    """
    missing = {prefix: [name for name in NEEDED if prefix + name not in context] for prefix in ("", "internevo_")}
    for prefix, names in missing.items():
        if not names:
            return prefix
    raise ConfigError(
        f"{TRIED} needs the mode {missing[''][0]!r}, and the plan has none on this rank.\n"
        "  Enable the bundled modes data, pipe, tensor and zero1, or the plugin: init(enable=['internevo'])."
    )


def _installed() -> str:
    try:
        return f"InternEvo {importlib.metadata.version('InternEvo')}"
    except importlib.metadata.PackageNotFoundError:
        return "This InternEvo"
