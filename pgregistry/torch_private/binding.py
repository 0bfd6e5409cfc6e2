"""The device to which the default process group is bound (torch's `device_id`), and what torch makes of it.

In a bound world torch makes a communicator by splitting that of the world, in which every rank must take part, also
those that are not members. While the world is bound to nothing, torch makes one from scratch, by its members alone.
torch 2.15 binds every world of NCCL by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist


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
    """Bind the default process group to nothing while process groups are made that need nobody but their members."""
    device, world = bound_device(), dist.group.WORLD
    if device is None:
        yield
        return
    try:
        world.bound_device_id = None  # type: ignore[union-attr]
        yield
    finally:
        world.bound_device_id = device  # type: ignore[union-attr]
