"""Backend options: from a plan's names and values to the objects that torch takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import torch
import torch.distributed as dist

from pgregistry.building.communicators.backend import rank_device
from pgregistry.building.specs import GroupSpec
from pgregistry.errors import ConfigError, did_you_mean, listing
from pgregistry.torch_private.group_creation import bound_device
from pgregistry.values import shown

#: torch's names for NCCL; all of them take ProcessGroupNCCL.Options.
NCCL: Final = frozenset({"nccl", "nccl2", "nccl-lazy", "nccl-legacy"})
#: Backends that torch makes without options.
WITHOUT_OPTIONS: Final = frozenset({"gloo", "mpi", "ucc", "xccl", "fake"})
#: Attributes of NCCL's options that torch sets itself.
OF_TORCH: Final = frozenset({"config", "global_ranks_in_group", "group_name", "split_color", "split_from"})
#: With this option, which torch 2.15 added, a communicator is made by its members, at their first collective.
LAZY: Final = "lazy_init"


def backends_of(backend: str) -> set[str]:
    """Return the names in a backend.

    >>> sorted(backends_of("cpu:gloo,cuda:nccl")), backends_of("nccl2")
    (['gloo', 'nccl'], {'nccl2'})
    """
    return {pair.rpartition(":")[2] for pair in backend.split(",")}


def is_lazy(spec: GroupSpec) -> bool:
    """Return True if torch makes the communicator of a process group at the first collective, by its members alone.

    It does for NCCL, where it has the option `lazy_init`, unless the plan says `lazy_init = False`.
    """
    options = getattr(getattr(dist, "ProcessGroupNCCL", None), "Options", None)
    return (
        hasattr(options, LAZY) and bool(backends_of(spec.backend) & NCCL) and bool(dict(spec.options).get(LAZY, True))
    )


def lazy_device(backend: str) -> torch.device | None:
    """Return the device to which the lazy communicators of a backend are bound; None if they are bound to none.

    NCCL of torch 2.15 binds them, and the world, to a device that it guesses by the rank, if it is not told.
    """
    names = backends_of(backend) & NCCL
    options = getattr(getattr(dist, "ProcessGroupNCCL", None), "Options", None)
    if "nccl" in names and os.environ.get("TORCH_DIST_USE_NCCL2") == "0":
        names -= {"nccl"}  # the user wants the older one, which is bound to nothing
    if not names - {"nccl-legacy"} or not hasattr(options, LAZY):
        return None
    return bound_device() or rank_device(None, None)


def torch_options(spec: GroupSpec, origins: Mapping[str, str] | None = None, *, lazy: bool = False) -> Any:
    """Return the backend options of a process group as torch takes them; None if there are none.

    Args:
        spec: The process group.
        origins: The origin of each option, for errors.
        lazy: Whether to set `lazy_init`, where `is_lazy` returns True.

    Raises:
        ConfigError: if the backend takes no options, or not one of these.
    """
    options = dict(spec.options)
    if lazy and is_lazy(spec):
        options[LAZY] = True
    if not options:
        return None
    said = {key: f"{key} = {shown(value)} ({(origins or {}).get(key, 'plan')})" for key, value in options.items()}
    backends = backends_of(spec.backend)
    if backends <= WITHOUT_OPTIONS:
        raise ConfigError(
            f"Mode {spec.mode!r} has options {listing(said.values())}, but backend {spec.backend!r} takes none. Leave "
            "them out, or let the hook pgregistry_process_group_options return them for backends that take them."
        )
    if not backends & NCCL:
        return options  # a third-party backend reads the mapping itself
    if not hasattr(dist, "ProcessGroupNCCL"):
        raise ConfigError(f"Mode {spec.mode!r} has options {listing(said.values())}, but this torch has no NCCL.")
    converted: Any = dist.ProcessGroupNCCL.Options()
    own, config = ([key for key in dir(one) if not key.startswith("_")] for one in (converted, converted.config))
    known = {*own, *config} - OF_TORCH
    for key, value in options.items():
        if key not in known:
            raise ConfigError(
                f"Mode {spec.mode!r} has option {said[key]}, which must be an attribute of ProcessGroupNCCL.Options or "
                f"of its config. {did_you_mean(key, known)}"
            )
        try:
            setattr(converted if key in own else converted.config, key, value)
        except Exception as error:
            raise ConfigError(f"Mode {spec.mode!r} has option {said[key]}, which NCCL must take: {error}.") from error
    return converted
