"""Torch process groups from an agreed plan."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any

import torch.distributed as dist

from pgregistry.building.address_exchange import GatheringStore, together
from pgregistry.building.by_public_calls import by_public_calls
from pgregistry.building.gloo import gloo_environment
from pgregistry.building.options import torch_options
from pgregistry.building.specs import Defaults, Request, of_rank, to_gloo, world_request
from pgregistry.building.watchdog import LOOK, Lookout
from pgregistry.coordination.barrier import lost
from pgregistry.coordination.store import LostError, ScopedStore, waiting
from pgregistry.coordination.worker import run_abandonable
from pgregistry.errors import BuildError
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import group_creation as private


@dataclass(slots=True)
class Built:
    """The process groups of one rank.

    Attributes:
        groups: For each mode that this rank is in, its process group.
        companions: For each mode that asked, its gloo process group.
        made: The process groups to destroy, in the order in which all ranks made them.
        seconds: For each mode, how long it took until its process groups were there.
        kept: What must live as long as they do.
        world: The default process group, where `init` started it.
        farewell: What to do when all of it is destroyed.
        excepthook: What torch put its own in the place of when the world was started.
    """

    groups: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    companions: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    made: list[dist.ProcessGroup] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)
    world: dist.ProcessGroup | None = None
    farewell: Callable[[], None] | None = None
    excepthook: Callable[..., object] | None = None


def world_backend() -> str:
    """The backend of the default process group: one name where one serves all devices."""
    devices = dict(pair.split(":") for pair in str(dist.get_backend_config()).split(","))
    return devices.popitem()[1] if len(set(devices.values())) == 1 else str(dist.get_backend_config())


def how(*, bound: bool) -> str:
    """How process groups are made: by "name", or with "public" calls alone.

    Public calls where the user says so with PGREGISTRY_BUILD=public, where this torch lacks the
    private ones, and where a bound device means that communicators are split from one another.

    Args:
        bound: Whether the default process group is bound to a device.
    """
    if os.environ.get("PGREGISTRY_BUILD") == "public" or bound or not private.available():
        return "public"
    return "name"


def build(plan: Plan, board: ScopedStore, defaults: Defaults, built: Built, *, seconds: float) -> None:
    """Make the process groups of a plan that this rank is in; all ranks of the board take part.

    Args:
        plan: The agreed plan.
        board: Where ranks find each other; its name is new for every `init`.
        defaults: What the run says.
        built: Filled as process groups come to exist, so that a failure can undo them.
        seconds: How long it may take.

    Raises:
        BuildError: with the group that could not be made, and who failed or did not come.
    """
    wanted = of_rank(plan, board.rank, defaults)
    for requests in wanted.values():  # before anything is made, so that all ranks stop here together
        for request in requests:
            torch_options(request)
    world, world_group = world_request(plan, replace(defaults, backend=world_backend())), dist.group.WORLD
    known: dict[Request, dist.ProcessGroup] = {}
    if world_group is not None:
        known[world] = world_group
    new = list(dict.fromkeys(request for requests in wanted.values() for request in requests if request not in known))
    lookout = Lookout(board, new, seconds)
    try:
        _make(plan, board, defaults, known, new, built, lookout)
    except LostError as error:
        raise lost(board, error) from error
    for name, requests in wanted.items():
        built.groups[name] = known[requests[0]]
        if len(requests) > 1:
            built.companions[name] = known[requests[1]]
        built.seconds[name] = max(lookout.took.get(request, 0.0) for request in requests)


def _make(
    plan: Plan,
    board: ScopedStore,
    defaults: Defaults,
    known: dict[Request, dist.ProcessGroup],
    new: Sequence[Request],
    built: Built,
    lookout: Lookout,
) -> None:
    world_group = dist.group.WORLD
    if how(bound=world_group is not None and world_group.bound_device_id is not None) == "name":
        _by_name(new, board, known, built, lookout)
    else:
        by_public_calls(plan, board, defaults, known, built.made, lookout)


def _by_name(
    requests: Sequence[Request],
    board: ScopedStore,
    known: dict[Request, dist.ProcessGroup],
    built: Built,
    lookout: Lookout,
) -> None:
    gloo = [request for request in requests if request.backend == "gloo"]
    store = GatheringStore(board, sorted({rank for request in gloo for rank in request.ranks} - {board.rank}))
    built.kept.append(store)

    def make(request: Request, where: Any) -> dist.ProcessGroup:
        name = f"{board.name}/groups/{request.name}"
        description = f"pgregistry:{request.mode}/{request.index}"
        try:
            group = private.make(request, board.rank, name, where, torch_options(request), description)
        except Exception as error:
            raise BuildError(f"Rank {board.rank} could not make {request}: {type(error).__name__}: {error}") from error
        built.made.append(group)
        lookout.made(request)
        return group

    with gloo_environment():
        known |= zip(gloo, together(store, [partial(make, one, store) for one in gloo], lookout), strict=True)
        _in_turn([one for one in requests if one not in known and to_gloo(one.backend)], board, make, known, lookout)
    for request in requests:  # the others do not connect before they are used
        if request not in known:
            known[request] = make(request, board.store)
    # Threads end in any order; all ranks destroy in one.
    built.made[:] = [known[request] for request in requests]


def _in_turn(
    requests: Sequence[Request],
    board: ScopedStore,
    make: Callable[[Request, Any], dist.ProcessGroup],
    known: dict[Request, dist.ProcessGroup],
    lookout: Lookout,
) -> None:
    """Make those that have gloo beside another backend, which keeps the store: torch waits for their members."""
    if not requests:
        return
    store, given_up = board.second_connection(), Event()

    def one_by_one() -> None:
        with waiting(store, lookout.seconds):
            for request in requests:
                if not given_up.is_set():
                    known[request] = make(request, store)

    try:
        run_abandonable(one_by_one, lookout, LOOK)
    except BaseException:
        given_up.set()
        raise


def undo(built: Built, *, abort: bool) -> None:
    """Destroy what was built, in the opposite order, and the world if it is ours.

    Args:
        built: Left empty.
        abort: Do not wait for collectives that are under way, and do not complain.

    Raises:
        BuildError: if something could not be destroyed, after all was tried.
    """
    built.groups.clear()
    built.companions.clear()
    doomed = [*reversed(built.made), *([built.world] if built.world else [])]
    built.made.clear()
    built.world = None
    failed: list[Exception] = []
    for group in doomed:
        if not dist.is_initialized():
            break  # the user destroyed the world, and every process group with it
        try:
            if abort:
                group.abort()
            dist.destroy_process_group(group)
        except ValueError:
            continue  # the user destroyed this one
        except Exception as error:
            failed.append(error)
    built.kept.clear()
    farewell, built.farewell = built.farewell, None
    if farewell and not abort:
        farewell()
    if built.excepthook and sys.excepthook.__module__ == dist.distributed_c10d.__name__:
        sys.excepthook = built.excepthook  # torch wraps it once more for every world and never puts it back
        built.excepthook = None
    if failed and not abort:
        raise BuildError(f"{len(failed)} process groups could not be destroyed; the first: {failed[0]}") from failed[0]


def let_go(error: BaseException | None) -> None:
    """Drop what the frames of an error hold, so that it keeps no process group alive.

    gloo closes the connections of a process group when nothing refers to it any more, not when it
    is aborted or destroyed; ranks that wait for this one are free only then.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
