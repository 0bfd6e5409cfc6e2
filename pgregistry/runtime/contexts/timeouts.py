"""Timeouts of process groups that are in use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError, describe

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def set_timeouts(groups: Iterable[ProcessGroup], seconds: float) -> None:
    """Set the timeout of process groups when all members of each are here.

    A rank that was still in an earlier collective would otherwise be given up by those that have the new timeout.

    Args:
        groups: The process groups, in one order on all ranks.
        seconds: The timeout.

    Raises:
        BuildError: if a collective failed, or a backend cannot change its timeout.
    """
    import torch
    import torch.distributed as dist

    from pgregistry.building.communicators.backend import FAKE, tensor_device

    real = [group for group in groups if dist.get_backend(group) != FAKE]
    group = None
    try:
        for group in real:
            here = torch.ones(1, device=tensor_device(group))
            dist.all_reduce(here, group=group)
            here.item()  # waits for the accelerator
        for group in real:
            group.set_timeout(timedelta(seconds=seconds))
    except RuntimeError as error:
        name = group.group_desc if group else ""
        raise BuildError(f"The timeout of process group {name} could not be set: {describe(error)}") from error
