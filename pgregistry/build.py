"""Torch process groups from an agreed plan."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

import torch.distributed as dist

from pgregistry import private
from pgregistry.board import Board, LostError
from pgregistry.errors import BuildError
from pgregistry.gather import GatheringStore, together
from pgregistry.plan import Plan
from pgregistry.requests import Defaults, Request, of_rank, of_world, to_gloo, world_request

#: gloo asks for all addresses of a group at once, and addresses do not grow with the group. All
#: ranks set them alike, so they belong to what ranks agree on by building in the same way.
GLOO: Final = {"GLOO_ENABLE_STORE_V2_API": "1", "GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER": "1"}
DONE: Final = "done"
GOOD: Final = "ok"
#: How long one look at the store takes while a rank waits for another, in seconds.
LOOK: Final = 0.5


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
    """

    groups: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    companions: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    made: list[dist.ProcessGroup] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)
    world: dist.ProcessGroup | None = None


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


def build(plan: Plan, board: Board, defaults: Defaults, built: Built, *, seconds: float) -> None:
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
            _torch_options(request)
    world, world_group = world_request(plan, replace(defaults, backend=world_backend())), dist.group.WORLD
    known: dict[Request, dist.ProcessGroup] = {}
    if world_group is not None:
        known[world] = world_group
    new = list(dict.fromkeys(request for requests in wanted.values() for request in requests if request not in known))
    begun = time.monotonic()
    lookout = _Lookout(board, new, begun + seconds, seconds)
    if how(bound=world_group is not None and world_group.bound_device_id is not None) == "name":
        _by_name(new, board, known, built, lookout)
    else:
        _by_public_calls(plan, board, defaults, known, built, lookout)
    for name, requests in wanted.items():
        built.groups[name] = known[requests[0]]
        if len(requests) > 1:
            built.companions[name] = known[requests[1]]
        built.seconds[name] = max(lookout.took.get(request, 0.0) for request in requests)


class _Lookout:
    """What a rank looks at while it waits for others: whether one has failed, whether the time is up."""

    def __init__(self, board: Board, requests: Sequence[Request], until: float, seconds: float) -> None:
        self._board = board
        self.store: GatheringStore | None = None
        self._requests = {request.name: request for request in requests}
        self._until = until
        self._begun, self.seconds = until - seconds, seconds
        self._looked = 0.0
        self.took: dict[Request, float] = {}

    def made(self, request: Request) -> None:
        self.took[request] = time.monotonic() - self._begun

    def __call__(self, keys: Sequence[str]) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK and now < self._until:
            return
        self._looked = now
        check_others(self._board)
        if now >= self._until:
            raise BuildError(f"Rank {self._board.rank} waited {self.seconds:g} s. {self._waits_for(keys)}")

    def _waits_for(self, keys: Sequence[str]) -> str:
        """Who does not come to which group; a key is …/NAME//DEVICE//POSITION."""
        for key in keys:
            for request in self._requests.values():
                position = key.rpartition("/")[2]
                if f"/{request.name}//" in key and position.isdigit() and self.store and not self.store.check([key]):
                    return f"Rank {request.ranks[int(position)]} does not come to {request}."
        left = [str(request) for request in self._requests.values() if request not in self.took]
        return f"These are not connected: {'; '.join(left)}." if left else "Another rank is not done."


def check_others(board: Board) -> None:
    """Raise what another rank failed with, if one did."""
    try:
        if board.has(DONE):
            (word,) = board.read([DONE], LOOK) or [GOOD]
            if word != GOOD:
                raise BuildError(word)
    except LostError as error:
        raise _lost(board, error) from error


def _lost(board: Board, error: Exception) -> BuildError:
    return BuildError(
        f"Rank {board.rank}: the process that hosts the store is gone while process groups are built ({error})."
    )


def tell_failure(board: Board, error: BaseException) -> None:
    """Tell the others that this rank failed, unless another one did so first."""
    try:
        board.first(DONE, f"Rank {board.rank} failed while process groups were built: {type(error).__name__}: {error}")
    except LostError:
        return  # they find out as this rank did


def confirm(board: Board, seconds: float, turn: str) -> None:
    """Wait until all ranks are done.

    Raises:
        BuildError: at once where one fails; after `seconds` where one does not come.
    """
    until = time.monotonic() + seconds
    done = DONE if turn == "last" else f"done/{turn}"
    try:
        if board.count(f"count/{turn}") == len(board.ranks):
            board.first(done, GOOD)
            return
        while (left := until - time.monotonic()) > 0:
            if values := board.read([done], min(left, LOOK if done != DONE else 5.0)):
                if values[0] != GOOD:
                    raise BuildError(values[0])
                return
            if done != DONE:
                check_others(board)
    except LostError as error:
        raise _lost(board, error) from error
    raise BuildError(
        f"Rank {board.rank} has its process groups, but waited {seconds:g} s for the other ranks to have theirs."
    )


def _by_name(
    requests: Sequence[Request], board: Board, known: dict[Request, dist.ProcessGroup], built: Built, lookout: _Lookout
) -> None:
    store = GatheringStore("groups", board.store)
    built.kept.append(store)
    lookout.store = store
    gloo = [request for request in requests if request.backend == "gloo"]

    def make(request: Request, where: Any) -> dist.ProcessGroup:
        name = f"{board.name}/groups/{request.name}"
        description = f"pgregistry:{request.mode}/{request.index}"
        try:
            group = private.make(request, board.rank, name, where, _torch_options(request), description)
        except Exception as error:
            raise BuildError(f"Rank {board.rank} could not make {request}: {type(error).__name__}: {error}") from error
        built.made.append(group)
        lookout.made(request)
        return group

    try:
        with gloo_environment():
            known |= zip(gloo, together(store, [partial(make, one, store) for one in gloo], lookout, LOOK), strict=True)
        for request in requests:  # the others do not connect before they are used
            if request not in known:
                known[request] = make(request, board.store)
    except LostError as error:
        raise _lost(board, error) from error
    # Threads end in any order; all ranks destroy in one.
    built.made[:] = [known[request] for request in requests]


@contextmanager
def gloo_environment() -> Iterator[None]:
    """Have gloo make few store calls, for what is made inside."""
    before = {name: os.environ.get(name) for name in GLOO}
    os.environ.update(GLOO)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _by_public_calls(
    plan: Plan,
    board: Board,
    defaults: Defaults,
    known: dict[Request, dist.ProcessGroup],
    built: Built,
    lookout: _Lookout,
) -> None:
    """All process groups of the plan by `new_group`, on all ranks in one order.

    torch names process groups by counting a rank's calls. A user may have made some on some
    ranks only, so a rank that is behind first calls for groups that it is not in, which costs
    nothing.
    """
    size = dist.get_world_size()
    if len(board.ranks) != size:
        raise BuildError(
            f"within={tuple(board.ranks)} leaves out ranks, and new_group needs all {size} of them. "
            "Unset PGREGISTRY_BUILD, or use a torch whose process groups can be named."
        )
    board.set(f"made/{board.rank}", str(dist.get_pg_count()))
    counts = board.read([f"made/{rank}" for rank in board.ranks], lookout.seconds)
    if counts is None:
        raise BuildError(f"Rank {board.rank} waited {lookout.seconds:g} s for the other ranks to start building.")
    for _ in range(max(map(int, counts)) - dist.get_pg_count()):
        dist.new_group([(board.rank + 1) % size])
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
            if board.rank in request.ranks and isinstance(group, dist.ProcessGroup):
                known[request] = group
                built.made.append(group)
                lookout.made(request)


def _split(requests: Sequence[Request]) -> list[Any]:
    """One collective for all groups of a partition, where communicators are split from the world's."""
    first = requests[0]
    group = dist.split_group(
        split_ranks=[list(request.ranks) for request in requests],
        timeout=None if first.timeout is None else timedelta(seconds=first.timeout),
        pg_options=_torch_options(first),
        group_desc=f"pgregistry:{first.mode}",
    )
    return [group] * len(requests)


def _new(request: Request) -> Any:
    try:
        return dist.new_group(
            list(request.ranks),
            timeout=None if request.timeout is None else timedelta(seconds=request.timeout),
            backend=request.backend,
            pg_options=_torch_options(request),
            group_desc=f"pgregistry:{request.mode}/{request.index}",
        )
    except Exception as error:
        raise BuildError(f"Rank {dist.get_rank()} could not make {request}: {type(error).__name__}: {error}") from error


def _torch_options(request: Request) -> Any:
    """Backend options as what torch takes."""
    if not request.options:
        return None
    options = dict(request.options)
    if request.backend in ("gloo", "mpi", "ucc", "fake"):
        raise BuildError(
            f"Mode {request.mode!r} has process group options {options}, but {request.backend} takes none."
        )
    if request.backend != "nccl":
        return options  # a backend from elsewhere reads its own
    converted: Any = dist.ProcessGroupNCCL.Options()
    for key, value in options.items():
        if hasattr(converted, key):
            setattr(converted, key, value)
        elif hasattr(converted.config, key):
            setattr(converted.config, key, value)
        else:
            raise BuildError(f"Mode {request.mode!r} has process group option {key!r}, which nccl does not know.")
    return converted


def serves_cpu(group: dist.ProcessGroup) -> bool:
    """Whether a process group takes CPU tensors to gloo."""
    return to_gloo(str(dist.get_backend_config(group)))


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
    if failed and not abort:
        raise BuildError(f"{len(failed)} process groups could not be destroyed; the first: {failed[0]}") from failed[0]
