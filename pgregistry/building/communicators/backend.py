"""Backends and devices: which backend serves which device, and gloo's environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import torch
import torch.distributed as dist

from pgregistry.torch_private.group_creation import bound_device

#: torch's backend whose process groups communicate with nobody, for dry runs.
FAKE: Final = "fake"
#: With this gloo reads all addresses of a group in one call.
ONE_READ: Final = "GLOO_ENABLE_STORE_V2_API"
#: With this an address does not grow with the group. Both sides of a connection must have it, or one of them crashes,
#: also in a process group that a thread of the user makes just now. So small worlds do without it.
SHORT_ADDRESSES: Final = "GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER"
#: The most ranks in a world whose addresses may grow with the group.
SMALL: Final = 64


def device_backends(group: dist.ProcessGroup | None = None) -> dict[str, str]:
    """Return the backend of each device type that a process group serves; None is the default group.

    For `init_process_group("cpu:gloo,cuda:nccl")` it is `{"cpu": "gloo", "cuda": "nccl"}`.
    """
    return dict(pair.split(":") for pair in str(dist.get_backend_config(group)).split(","))


def default_group_backend() -> str:
    """Return the backend of the default process group as `new_group` takes it.

    It is one name, such as "gloo", if one backend serves all devices, else "cpu:gloo,cuda:nccl".
    """
    backends = set(device_backends().values())
    return backends.pop() if len(backends) == 1 else str(dist.get_backend_config())


def accelerator() -> str | None:
    """Return the device type of this machine's accelerator, such as "cuda"; None without one."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found else None


def accelerator_backend() -> str:
    """Return the backend that torch prefers for the accelerator, or "gloo" without one."""
    device = accelerator()
    return dist.get_default_backend_for_device(device) if device else "gloo"


def world_backend(backend: str | None) -> str:
    """Return the backend of a default process group that `init` starts.

    It is the one asked for, else torch's own default: gloo, and the accelerator's backend beside it.

    Args:
        backend: The backend that the run names; None if it names none.
    """
    device = accelerator()
    if backend is not None or device is None:
        return backend or "gloo"
    return f"cpu:gloo,{device}:{dist.get_default_backend_for_device(device)}"


def rank_device(asked: torch.device | str | int | None, local_rank: int | None) -> torch.device:
    """Return the device of a rank: the one asked for, else its accelerator, else the CPU.

    The accelerator is that to which the default process group is bound, else the current one. While that is the first,
    which it is before anything chooses one, it is the one of the local rank.

    Args:
        asked: The device that `init` was given; without an index it is that of the local rank.
        local_rank: The rank among those of its host, if known.
    """
    if asked is not None:
        asked = torch.device(asked)
        return asked if asked.index is not None else torch.device(asked.type, local_rank or 0)
    device = accelerator()
    if device is None:
        return torch.device("cpu")
    bound = bound_device()
    if bound is not None and bound.type == device:
        return torch.device(bound)
    index = torch.accelerator.current_device_index()
    if index == 0 and local_rank is not None and local_rank < torch.accelerator.device_count():
        index = local_rank
    return torch.device(device, index)


def make_current(device: torch.device) -> None:
    """Make the accelerator of a rank the current device, unless something chose another one before."""
    if device.type == accelerator() and torch.accelerator.current_device_index() == 0 != device.index:
        torch.accelerator.set_device_index(device)


def tensor_device(group: dist.ProcessGroup) -> torch.device:
    """Return a device whose tensors a process group takes; the CPU if it can be."""
    devices = list(device_backends(group))
    if dist.get_backend(group) in ("gloo", "mpi") or "cpu" in devices:
        return torch.device("cpu")
    return torch.device(devices[0], torch.accelerator.current_device_index())


def mesh_device_type(group: dist.ProcessGroup) -> str:
    """Return the device type of a DeviceMesh over a process group: the accelerator if the group serves it."""
    device = accelerator()
    return device if device in device_backends(group) and dist.get_backend(group) != "gloo" else "cpu"


def default_group_is_bound() -> bool:
    """Return True if the default process group exists and is bound to a device (torch's `device_id`)."""
    return bound_device() is not None


@contextmanager
def gloo_environment(ranks: int) -> Iterator[None]:
    """Set the variables that gloo reads when a process group is made, then restore what was there.

    torch has no other way to set them. gloo reads them before it writes the addresses of this rank. Only one `init`
    runs in a process, so nobody else changes them meanwhile.

    Args:
        ranks: The number of ranks in the world.
    """
    names = (ONE_READ, SHORT_ADDRESSES) if ranks > SMALL else (ONE_READ,)
    before = {name: os.environ.get(name) for name in names}
    try:
        try:
            os.environ.update(dict.fromkeys(names, "1"))
            yield
        finally:
            _restore(before)
    finally:
        _restore(before)  # again: the first may be interrupted, and a variable that stays looks like the user's


def _restore(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.unsetenv(name)  # an interrupted assignment may have set it without Python's knowledge
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
