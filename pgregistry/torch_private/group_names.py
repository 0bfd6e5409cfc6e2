"""The names by which torch finds process groups: a living one can answer to the name of one that was destroyed.

A DeviceMesh keeps the names of its process groups. DTensor takes equal meshes for one mesh, so that a DTensor of one
context can hold the mesh of another. When that one is closed, its names must lead to process groups that are there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """The name of a process group, and what one that is to answer to it must have in common with it."""

    name: str
    description: str
    ranks: tuple[int, ...]

    def fits(self, group: dist.ProcessGroup) -> bool:
        """Return True if a living process group can answer to the name."""
        return group.group_desc == self.description and dist.get_process_group_ranks(group) == [*self.ranks]


def available() -> bool:
    """Return True if this torch has all that is called here."""
    world = getattr(c10d, "_world", None)
    calls = ("_register_process_group", "_unregister_process_group")
    return all(callable(getattr(c10d, call, None)) for call in calls) and isinstance(
        getattr(world, "pg_names", None), dict
    )


def name_of(text: str) -> Any:
    """Return the name of a process group as torch takes it; torch 2.9 takes the text itself."""
    return getattr(c10d, "GroupName", str)(text)


def living() -> list[str]:
    """Return the names of all process groups of this process; none if this torch does not keep them."""
    return [*c10d._world.pg_names.values()] if available() else []


def hand_over(left: NamedGroup) -> None:
    """Let another process group with the same description and ranks answer to a name, if its own is destroyed.

    If there is none, or this torch lacks the calls, whatever still holds the name fails when it is used.
    """
    if not available():
        log.debug("This torch cannot give the name %s to another process group.", left.name)
        return
    living = c10d._world.pg_names
    if left.name not in living.values():
        heir = next(filter(left.fits, living), None)
        if heir is not None:
            free(left.name)
            c10d._register_process_group(name_of(left.name), heir)  # type: ignore[attr-defined]


def free(name: str) -> None:
    """Take a name back that was handed over, so that a new process group can have it."""
    if available() and name not in c10d._world.pg_names.values():
        c10d._unregister_process_group(name_of(name))  # type: ignore[attr-defined]
