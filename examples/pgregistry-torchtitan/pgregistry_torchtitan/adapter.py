"""torchtitan's `ParallelDims` over the process groups of a context: it makes none of its own.

with pgregistry.init(enable=["torchtitan"], torchtitan_tp=2) as context:
    dims = parallel_dims(context)
    dims.get_mesh("tp")
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any, Final

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from pgregistry import ConfigError, ParallelContext

TRIED: Final = "0.3.0"
MODULE: Final = "torchtitan.distributed.parallel_dims"
DEGREES: Final = ("dp_replicate", "dp_shard", "cp", "tp", "pp", "ep")
#: What is touched of `ParallelDims`, beside `build_mesh`, which is replaced with the meshes that it sets.
TOUCHED: Final = ("_validate_meshes", "get_activated_mesh")
FIELDS: Final = (*DEGREES, "world_size", "spmd_backend")
#: The dense mesh of each `spmd_backend`, and what its activated axes are.
DENSE: Final = {
    "partial_dtensor": (("pp", "dp_replicate", "fsdp", "tp"), ["dp_replicate", "fsdp", "tp"]),
    "full_dtensor": (("pp", "dp_replicate", "dp_shard", "cp", "tp"), ["dp_replicate", "dp_shard", "cp", "tp"]),
    "spmd_types": (("pp", "dp_replicate", "dp_shard", "cp", "tp"), ["dp", "cp", "tp"]),
}


def parallel_dims(context: ParallelContext, *, spmd_backend: str = "partial_dtensor") -> Any:
    """Return a `ParallelDims` whose meshes are those of a context, with the sizes of its plan.

    Args:
        context: Has the modes of this distribution, with the prefix or without.
        spmd_backend: As in torchtitan.

    Raises:
        ConfigError: if torchtitan is not installed or lacks what is touched, or the plan lacks a mode.
    """
    theirs = _theirs()
    if spmd_backend not in DENSE:
        raise ConfigError(f"spmd_backend = {spmd_backend!r} must be one of {', '.join(DENSE)}.")
    dense_axes, activated = DENSE[spmd_backend]
    needed = {*("batch", "loss", "efsdp", "ep"), *dense_axes, *(["dp"] if spmd_backend == "spmd_types" else [])}
    prefix = "torchtitan_" if "torchtitan_pp" in context.plan else ""
    if missing := sorted(name for name in needed if prefix + name not in context):
        raise ConfigError(
            f"torchtitan {TRIED} with spmd_backend {spmd_backend!r} needs the mode {prefix + missing[0]!r}, and the "
            "plan has none on this rank.\n  Enable the plugin: init(enable=['torchtitan'])."
        )

    if dist.group.WORLD is None:
        raise ConfigError("torchtitan needs the default process group, and there is none; is the context closed?")
    world: dist.ProcessGroup = dist.group.WORLD

    def mesh(*names: str) -> DeviceMesh:
        return context.device_mesh(**{name: prefix + name for name in names})

    class Ours(theirs):  # type: ignore[misc, valid-type]
        """`ParallelDims` with the meshes of a context."""

        def build_mesh(self) -> DeviceMesh:
            """Build all meshes from process groups that are there."""
            self._world_mesh = DeviceMesh.from_group(world, context.device.type, mesh_dim_names=("world",))
            data, dense = mesh("pp", "batch", "cp", "tp"), mesh(*dense_axes)
            loss, sparse = mesh("pp", "loss", "tp")["loss"], mesh("pp", "dp_replicate", "efsdp", "ep")
            self._global_meshes = {"dataloading": data, "loss": loss, "dense": dense, "sparse": sparse}
            one = {"loss": loss, "batch": data["batch"], "pp": data["pp"], "cp": data["cp"], "tp": data["tp"]}
            one |= {name: dense[name] for name in dense_axes if name not in one}
            one |= {name: sparse[name] for name in ("ep", "efsdp")}
            if spmd_backend == "spmd_types":
                types = mesh("pp", "dp", "cp", "tp")["dp", "cp", "tp"]
                self._global_meshes["spmd_dense_for_fwdbwd"], one["dp"] = types, types["dp"]
                if self.ep > 1:
                    self._global_meshes["spmd_sparse_for_fwdbwd"] = sparse["dp_replicate", "efsdp", "ep"]
            self._single_axis_meshes = one
            self._validate_meshes()
            found = [self.get_activated_mesh(axes) for axes in (activated, ["dp_replicate", "efsdp", "ep"])]
            self._spmd_meshes = [each for each in found if each is not None]
            return self._world_mesh

    sizes = {name: context.sizes[prefix + name] for name in DEGREES}
    dims = Ours(**sizes, world_size=context.world_size, spmd_backend=spmd_backend)
    dims.build_mesh()
    return dims


def _theirs() -> Any:
    """Return torchtitan's class."""
    try:
        theirs = importlib.import_module(MODULE).ParallelDims
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"pgregistry_torchtitan.adapter needs torchtitan {TRIED}, which cannot be imported: {error}.\n"
            f"  Install it: pip install torchtitan=={TRIED}"
        ) from None
    names = {*dir(theirs), *getattr(theirs, "__dataclass_fields__", {})}
    if missing := [name for name in (*TOUCHED, *FIELDS) if name not in names]:
        raise ConfigError(
            f"{_installed()} has no ParallelDims.{missing[0]}; pgregistry_torchtitan.adapter was tried with {TRIED}.\n"
            f"  Install that version: pip install torchtitan=={TRIED}"
        )
    return theirs


def _installed() -> str:
    """Return the package with its version; a clone on PYTHONPATH has none."""
    try:
        return f"torchtitan {importlib.metadata.version('torchtitan')}"
    except importlib.metadata.PackageNotFoundError:
        return "This torchtitan"
