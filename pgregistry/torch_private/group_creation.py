"""The only private calls into torch: process groups by name, made by their members alone.

`torch.distributed.new_group` names process groups by counting the calls of a process, so all
ranks must make all calls in one order, and a rank that does not is wired to strangers. Its
`use_local_synchronization` salts names with a number that differs between ranks. A name of our
own has neither problem. `available` says whether this torch has what is needed; where it has
not, or with PGREGISTRY_BUILD=public, `build` uses public calls alone.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from pgregistry.building.specs import Request

#: The parameters of torch's helper that we pass, by the names they have in torch 2.6 and later.
_NEEDED = ("group_size", "group_rank", "global_ranks_in_group", "backend", "store", "group_name")
_BY_NAME = ("backend_options", "timeout", "group_desc")


def available() -> bool:
    """Whether this torch has the calls that `make` needs, and they look as they should."""
    helper = getattr(c10d, "_new_process_group_helper", None)
    world = getattr(c10d, "_world", None)
    if helper is None or not hasattr(c10d, "GroupName") or not isinstance(getattr(world, "pg_group_ranks", None), dict):
        return False
    parameters = list(inspect.signature(helper).parameters)
    return tuple(parameters[: len(_NEEDED)]) == _NEEDED and set(_BY_NAME) <= set(parameters)


def make(request: Request, rank: int, name: str, store: Any, options: Any, description: str) -> dist.ProcessGroup:
    """A process group that only its members make; returns when they are connected.

    Args:
        request: What to make; this rank is a member.
        rank: This rank.
        name: What it is called on every member, and nowhere else.
        store: Where members find each other.
        options: Backend options as torch takes them.
        description: Shown in torch's logs and flight records.
    """
    default = c10d._get_default_timeout(c10d.Backend(request.backend))
    group: dist.ProcessGroup
    group, _ = c10d._new_process_group_helper(
        len(request.ranks),
        request.ranks.index(rank),
        list(request.ranks),
        c10d.Backend(request.backend),
        store,
        c10d.GroupName(name),
        backend_options=options,
        timeout=default if request.timeout is None else timedelta(seconds=request.timeout),
        group_desc=description,
    )
    c10d._world.pg_group_ranks[group] = {member: index for index, member in enumerate(request.ranks)}
    return group
