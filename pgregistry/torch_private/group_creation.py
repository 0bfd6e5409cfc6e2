"""Private calls into torch that make a process group by name, on its members alone.

`torch.distributed.new_group` names process groups by counting the calls of a process. All ranks
must therefore make all calls in one order, and a rank that does not is connected to strangers. Its
`use_local_synchronization` salts names with a number that differs between ranks. A name of our own
has neither problem. If `available()` is False, or with PGREGISTRY_BUILD=public, the builder uses
public calls alone.

In a world that is bound to a device (torch's `device_id`), torch makes a communicator by splitting that of the world,
in which every rank must take part, also those that are not members. While the world is bound to nothing, torch makes
one from scratch, by its members alone. torch 2.15 binds every world of NCCL by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from pgregistry.torch_private import group_names

#: The parameters of torch's helper that `create_group` passes by position and by name (their names since torch 2.6).
_POSITIONAL = ("group_size", "group_rank", "global_ranks_in_group", "backend", "store", "group_name")
_BY_NAME = frozenset({"backend_options", "timeout", "device_id", "group_desc"})


def available() -> bool:
    """Return True if this torch has all that `create_group` calls, with the parameters that it passes."""
    calls = ("_new_process_group_helper", "_get_default_timeout")
    world = getattr(c10d, "_world", None)
    if not all(callable(getattr(c10d, call, None)) for call in calls):
        return False
    if not isinstance(getattr(world, "pg_group_ranks", None), dict):
        return False
    return _takes_all(c10d._new_process_group_helper)


@cache
def _takes_all(helper: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(helper).parameters)
    return tuple(parameters[: len(_POSITIONAL)]) == _POSITIONAL and set(parameters) >= _BY_NAME


def default_timeout(backend: str) -> float:
    """Return the seconds that torch gives process groups of a backend for which nobody set a timeout."""
    given = getattr(c10d, "_get_default_timeout", None)
    parts = [part.rpartition(":")[2] for part in backend.split(",")]
    try:
        found = [given(dist.Backend(part)) for part in parts] if given else []
    except (TypeError, ValueError, RuntimeError):  # of another torch
        found = []
    return min((one.total_seconds() for one in found), default=dist.default_pg_timeout.total_seconds())


def create_group(
    ranks: Sequence[int],
    rank: int,
    *,
    name: str,
    backend: str,
    store: Any,
    options: Any = None,
    timeout: float | None = None,
    device: torch.device | None = None,
    description: str = "",
) -> dist.ProcessGroup:
    """Create a process group that only its members make, and return it when they are connected.

    Args:
        ranks: Its members, as global ranks.
        rank: This rank, one of them.
        name: Its name, equal on every member and used by no other process group.
        backend: The torch backend.
        store: The store in which members find each other.
        options: Backend options as torch takes them.
        timeout: In seconds; None for torch's default.
        device: Bind it to this device.
        description: Shown in torch's logs and flight records.
    """
    group_names.free(name)
    torch_backend = dist.Backend(backend)
    group: dist.ProcessGroup
    group, _ = c10d._new_process_group_helper(
        len(ranks),
        ranks.index(rank),
        list(ranks),
        torch_backend,
        store,
        group_names.name_of(name),
        backend_options=options,
        timeout=c10d._get_default_timeout(torch_backend) if timeout is None else timedelta(seconds=timeout),
        device_id=device,
        group_desc=description,
    )
    c10d._world.pg_group_ranks[group] = {member: index for index, member in enumerate(ranks)}
    return group


def bound_device() -> Any:
    """Return the device to which the default process group is bound; None without one, or without the group."""
    return getattr(dist.group.WORLD, "bound_device_id", None)


def can_split() -> bool:
    """Return True if torch splits communicators from that of the default process group, for its bound device."""
    device = bound_device()
    find = getattr(dist.group.WORLD, "_get_backend", None)
    try:
        return device is not None and find is not None and bool(find(device).supports_splitting)
    except (AttributeError, RuntimeError):  # of another torch, or no backend serves the device
        return False


@contextmanager
def unbound() -> Iterator[None]:
    """Unbind the default process group while process groups are made in which only their members take part."""
    device, world = bound_device(), dist.group.WORLD
    if device is None:
        yield
        return
    try:
        world.bound_device_id = None  # type: ignore[union-attr]
        yield
    finally:
        world.bound_device_id = device  # type: ignore[union-attr]
