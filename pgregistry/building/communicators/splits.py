"""Communicators that are split from that of the default process group, which is bound to a device.

Splitting is a collective of the whole world: one call makes all groups of a mode.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist
from packaging.version import Version

from pgregistry.building.builder import GroupBuilder
from pgregistry.building.communicators.backend import device_backends
from pgregistry.building.communicators.options import torch_options
from pgregistry.building.specs import GroupSpec
from pgregistry.torch_private.group_creation import bound_device, can_split

#: The first torch whose `split_group` also makes process groups of gloo, in a world that is bound to nothing.
SPLITS_GLOO: Final = Version("2.15.dev0")


def split_backend() -> str | None:
    """Return the backend whose communicators torch splits from that of the default process group, if it does.

    It is none of gloo, whose process groups need no communicator.
    """
    backend = device_backends().get(bound_device().type) if can_split() else None
    return None if backend == "gloo" else backend


def gloo_can_be_split() -> bool:
    """Return True if `split_group` makes process groups of gloo here."""
    return Version(torch.__version__) >= SPLITS_GLOO and set(device_backends().values()) == {"gloo"}


def to_split(specs: Sequence[GroupSpec], backend: str | None) -> list[GroupSpec]:
    """Return those of a mode's process groups that one call of `split_group` makes.

    A group of one rank needs no communicator before it is used, and torch before 2.14 sorts the ranks of a split. Where
    gloo can be split, neither counts.

    Args:
        specs: The process groups of a mode that all ranks together must make.
        backend: The backend that is split.
    """
    if backend is None or not selects():
        return []
    fitting = [spec for spec in specs if spec.backend == backend]
    return fitting if backend == "gloo" else [spec for spec in fitting if len(spec.ranks) > 1 and spec.ascends]


def selects() -> bool:
    """Return True if `split_group` makes process groups of one backend in this world, whatever others it has."""
    return len(set(device_backends().values())) == 1 or "backend" in inspect.signature(dist.split_group).parameters


def split(builder: GroupBuilder, specs: Sequence[GroupSpec], *, seconds: float | None = None) -> GroupSpec | None:
    """Make process groups of one mode by one split, on all ranks of the world; return that of this rank.

    Args:
        builder: It is given the process group.
        specs: The process groups. Their ranks are in one of them at most.
        seconds: The timeout of the split, if it is not that of the process groups.
    """
    mine = next((spec for spec in specs if builder.scope.rank in spec.ranks), None)
    spec = mine or specs[0]
    timeout = spec.timeout if seconds is None else seconds
    backends = device_backends()
    chosen: dict[str, Any] = {}
    if len(set(backends.values())) > 1:
        chosen["backend"] = f"{bound_device().type}:{spec.backend}"
    with builder.naming(spec):
        group: Any = dist.split_group(
            split_ranks=[list(one.ranks) for one in specs],
            timeout=None if timeout is None else timedelta(seconds=timeout),
            pg_options=torch_options(spec),
            group_desc=spec.description,
            **chosen,
        )
    if mine is not None:
        builder.add(mine, group)
    return mine
