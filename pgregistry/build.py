"""Torch process groups from a plan: one for each distinct set of ranks and settings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from pgregistry.errors import BuildError
from pgregistry.plan import Plan, PlannedMode


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a run says for the modes that say nothing: backend, timeout (seconds), gloo companions."""

    backend: str | None = None
    timeout: float | None = None
    cpu: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A process group that a plan needs.

    Requests that are equal share one process group; `owner` is set where a mode is dedicated.
    """

    ranks: tuple[int, ...]
    backend: str
    options: tuple[tuple[str, object], ...] = ()
    timeout: float | None = None
    owner: str | None = None


@dataclass(slots=True)
class Built:
    """The process groups of one rank.

    Attributes:
        groups: For each mode that this rank is in, its process group.
        companions: For each mode that asked, its gloo process group.
        made: The process groups to destroy, in the order in which all ranks made them.
        distinct: For each mode, how many process groups were made for it, over all ranks.
        seconds: For each mode, how long this rank took to make them.
    """

    groups: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    companions: dict[str, dist.ProcessGroup] = field(default_factory=dict)
    made: list[dist.ProcessGroup] = field(default_factory=list)
    distinct: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def build(plan: Plan, rank: int, defaults: Defaults, built: Built) -> None:
    """Make all process groups of a plan; every rank of the world calls this with an equal plan.

    Args:
        plan: The agreed plan.
        rank: This process.
        defaults: What the run says.
        built: Filled as process groups come to exist, so that a failure can undo them.

    Raises:
        BuildError: with the mode and the group that could not be made.
    """
    backend = str(defaults.backend or dist.get_backend())
    world = Request(tuple(range(plan.world_size)), backend, timeout=defaults.timeout)
    known: dict[Request, dist.ProcessGroup | None] = {world: dist.group.WORLD}
    for mode in plan.planned:  # before anything is made, so that all ranks stop here together
        _torch_options(mode.backend or backend, mode)
    for mode in plan.planned:
        start, made = time.perf_counter(), 0
        for index, group in enumerate(mode.groups):
            wanted = _requests(mode, group, defaults, backend)
            for request in wanted:
                if request not in known:
                    known[request] = _make(request, mode, index, rank, built)
                    made += 1
            if rank in group:
                built.groups[mode.name] = _member(known[wanted[0]], mode, group)
                if len(wanted) > 1:
                    built.companions[mode.name] = _member(known[wanted[1]], mode, group)
        built.distinct[mode.name] = made
        built.seconds[mode.name] = time.perf_counter() - start


def _requests(mode: PlannedMode, ranks: tuple[int, ...], defaults: Defaults, backend: str) -> list[Request]:
    """The process groups for one group: its own, then the gloo one where it is asked for."""
    backend = mode.backend or backend
    timeout = defaults.timeout if mode.timeout is None else mode.timeout
    owner = mode.name if mode.dedicated else None
    requests = [Request(ranks, backend, tuple(sorted(mode.options.items())), timeout, owner)]
    if (defaults.cpu if mode.cpu is None else mode.cpu) and not _to_gloo(backend):
        requests.append(Request(ranks, "gloo", (), timeout, owner))
    return requests


def _to_gloo(backend: str) -> bool:
    """Whether process groups of a backend take CPU tensors to gloo.

    >>> _to_gloo("gloo"), _to_gloo("cpu:gloo,cuda:nccl"), _to_gloo("nccl")
    (True, True, False)
    """
    return backend == "gloo" or "cpu:gloo" in backend.split(",")


def serves_cpu(group: dist.ProcessGroup) -> bool:
    """Whether a process group takes CPU tensors to gloo."""
    return _to_gloo(str(dist.get_backend_config(group)))


def _make(request: Request, mode: PlannedMode, index: int, rank: int, built: Built) -> dist.ProcessGroup | None:
    """Make one process group; the only place where timeout, options and description are applied."""
    timeout = None if request.timeout is None else timedelta(seconds=request.timeout)
    try:
        group = dist.new_group(
            list(request.ranks),
            timeout=timeout,
            backend=request.backend,
            pg_options=_torch_options(request.backend, mode) if request.options else None,
            group_desc=f"pgregistry:{mode.name}/{index}",
        )
    except BuildError:
        raise
    except Exception as error:
        raise BuildError(
            f"Rank {rank} could not make the process group of mode {mode.name!r}, group {index} {request.ranks}, "
            f"backend {request.backend}: {type(error).__name__}: {error}"
        ) from error
    if rank not in request.ranks or not isinstance(group, dist.ProcessGroup):
        return None
    built.made.append(group)
    return group


def _torch_options(backend: str, mode: PlannedMode) -> Any:
    """The options of a mode as what torch takes for a backend."""
    options = mode.options
    if not options:
        return None
    if backend in ("gloo", "mpi", "ucc", "fake"):
        raise BuildError(f"Mode {mode.name!r} has process group options {dict(options)}, but {backend} takes none.")
    if backend != "nccl":
        return dict(options)  # a backend from elsewhere reads its own
    converted: Any = dist.ProcessGroupNCCL.Options()
    for key, value in options.items():
        if hasattr(converted, key):
            setattr(converted, key, value)
        elif hasattr(converted.config, key):
            setattr(converted.config, key, value)
        else:
            raise BuildError(f"Mode {mode.name!r} has process group option {key!r}, which nccl does not know.")
    return converted


def _member(group: dist.ProcessGroup | None, mode: PlannedMode, ranks: tuple[int, ...]) -> dist.ProcessGroup:
    if group is None:  # never None or -100 to a user: torch would take it for the world, or ignore it
        raise BuildError(f"torch made no process group for mode {mode.name!r}, group {ranks}, on a rank that is in it.")
    return group


def undo(built: Built, *, owns_world: bool, abort: bool) -> None:
    """Destroy what was built, in the opposite order, and the world if it is ours.

    Args:
        built: Left empty.
        owns_world: Whether `init` started the default process group.
        abort: Do not wait for collectives that are under way, and do not complain.

    Raises:
        BuildError: if something could not be destroyed, after all was tried.
    """
    built.groups.clear()
    built.companions.clear()
    doomed = list(reversed(built.made)) + ([dist.group.WORLD] if owns_world else [])
    built.made.clear()
    failed: list[Exception] = []
    for group in doomed:
        if group is None or not dist.is_initialized():
            break  # the user destroyed the world, and every process group with it
        try:
            if abort:
                group.abort()
            dist.destroy_process_group(group)
        except ValueError:
            continue  # the user destroyed this one
        except Exception as error:
            failed.append(error)
    if failed and not abort:
        raise BuildError(f"{len(failed)} process groups could not be destroyed; the first: {failed[0]}") from failed[0]
