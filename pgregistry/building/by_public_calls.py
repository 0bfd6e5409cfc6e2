"""Process groups by public torch calls alone: the fallback, and the way for device-bound communicators."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch.distributed as dist

from pgregistry.building.options import torch_options
from pgregistry.building.specs import Defaults, Request, of_world
from pgregistry.building.watchdog import LOOK, Lookout
from pgregistry.coordination.store import SLICE, ScopedStore
from pgregistry.coordination.worker import run_abandonable
from pgregistry.errors import BuildError
from pgregistry.planning.plans.plan import Plan


def by_public_calls(
    plan: Plan,
    board: ScopedStore,
    defaults: Defaults,
    known: dict[Request, dist.ProcessGroup],
    made: list[dist.ProcessGroup],
    lookout: Lookout,
) -> None:
    """All process groups of the plan by `new_group`, on all ranks in one order.

    torch names process groups by counting a rank's calls. A user may have made some on some
    ranks only, so a rank that is behind first calls for groups that it is not in, which costs
    nothing.
    """
    size = dist.get_world_size()
    if len(board.ranks) != size:
        raise BuildError(
            f"within={tuple(board.ranks)} leaves out ranks, and new_group needs all {size} of them. Unset "
            "PGREGISTRY_BUILD, start the world without device_id (device=), or use a torch whose process groups can "
            "be named."
        )
    board.set(f"made/{board.rank}", str(dist.get_pg_count()))
    while (counts := board.read([f"made/{rank}" for rank in board.ranks], lookout.next(SLICE))) is None:
        lookout()
    run_abandonable(
        partial(_all_of, plan, board.rank, max(map(int, counts)), defaults, known, made, lookout), lookout, LOOK
    )


def _all_of(
    plan: Plan,
    me: int,
    count: int,
    defaults: Defaults,
    known: dict[Request, dist.ProcessGroup],
    made: list[dist.ProcessGroup],
    lookout: Lookout,
) -> None:
    size = dist.get_world_size()
    for _ in range(count - dist.get_pg_count()):
        dist.new_group([(me + 1) % size])
    seen = set(known)
    bound = dist.group.WORLD is not None and dist.group.WORLD.bound_device_id is not None
    for mode in plan.planned:
        requests = [request for request in of_world(plan, defaults) if request.mode == mode.name]
        fresh = [request for request in dict.fromkeys(requests) if request not in seen]
        seen.update(fresh)
        members = sum(len(request.ranks) for request in fresh)
        if bound and members == size and len({request.backend for request in fresh} | {defaults.backend}) == 1:
            groups = _split(fresh)
        else:
            groups = [_new(request) for request in fresh]
        for request, group in zip(fresh, groups, strict=True):
            if me in request.ranks and isinstance(group, dist.ProcessGroup):
                known[request] = group
                made.append(group)
                lookout.made(request)


def _split(requests: Sequence[Request]) -> list[Any]:
    """One collective for all groups of a partition, where communicators are split from the world's."""
    first = requests[0]
    group = dist.split_group(
        split_ranks=[list(request.ranks) for request in requests],
        timeout=None if first.timeout is None else timedelta(seconds=first.timeout),
        pg_options=torch_options(first),
        group_desc=f"pgregistry:{first.mode}",
    )
    return [group] * len(requests)


def _new(request: Request) -> Any:
    try:
        return dist.new_group(
            list(request.ranks),
            timeout=None if request.timeout is None else timedelta(seconds=request.timeout),
            backend=request.backend,
            pg_options=torch_options(request),
            group_desc=f"pgregistry:{request.mode}/{request.index}",
        )
    except Exception as error:
        raise BuildError(f"Rank {dist.get_rank()} could not make {request}: {type(error).__name__}: {error}") from error
