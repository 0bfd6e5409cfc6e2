"""`init()`: from the launcher's environment, or an existing world, to process groups."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist

from pgregistry.building.build import Built, build, how, let_go, undo, world_backend
from pgregistry.building.specs import Defaults
from pgregistry.building.watchdog import confirm, tell_failure
from pgregistry.coordination.agreement import agree, leave, tell_stopped
from pgregistry.coordination.proposal import WIRE, Statement, failed, state
from pgregistry.coordination.store import Board, environment
from pgregistry.errors import ConfigError, PgregistryError, Problems
from pgregistry.planning.planner import Made, make, ranks_within
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.context import ParallelContext
from pgregistry.runtime.default_group import Place, Run, default_backend, part, start_world
from pgregistry.vocabulary import Mode


def init(
    *,
    order: Sequence[str] | None = None,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    only: Sequence[str] | None = None,
    config: str | None = None,
    extra: Iterable[Mode] = (),
    within: Iterable[int] | None = None,
    ranks_per_host: int | None = None,
    require: Sequence[str] = (),
    backend: str | None = None,
    device: torch.device | str | int | None = None,
    timeout: float | None = None,
    cpu: bool = False,
    agree_timeout: float = 300,
    build_timeout: float = 300,
    **sizes: Any,
) -> ParallelContext:
    """Make the process groups of every mode, on every rank of the world.

    Starts the default process group from the launcher's environment (torchrun, Slurm, MPI), or
    uses the one that is there.

        with pgregistry.init(tensor=2, pipe=2) as context:
            dist.all_reduce(x, group=context["tensor"].group)

    Args:
        order: As for `plan`, like all up to `require`, and the sizes.
        enable: Plugins to switch on.
        disable: Plugins to leave out.
        only: The plugins to use, and no others.
        config: A TOML file with the same names.
        extra: Modes that no plugin declares.
        within: Ranks that the plan lives on.
        ranks_per_host: How many ranks one host has.
        require: Distributions that must be installed.
        backend: The torch backend of process groups whose mode names none; None for the one of
            the accelerator, or gloo without one.
        device: Bind the default process group to this device (torch's `device_id`).
        timeout: The timeout of process groups whose mode says none, in seconds.
        cpu: Give every mode a gloo process group beside one of another backend.
        agree_timeout: How long ranks may take to come, in seconds.
        build_timeout: How long building may take, in seconds.
        **sizes: Sizes by name, as `tensor=2`.

    Raises:
        ConfigError: if the sizes, names or files given cannot work.
        PluginError: if a plugin cannot.
        BuildError: if torch could not make a process group.
    """
    keywords: dict[str, Any] = {
        "order": order,
        "enable": enable,
        "disable": disable,
        "only": only,
        "config": config,
        "extra": extra,
        "within": tuple(within) if isinstance(within, Iterable) else within,
        "ranks_per_host": ranks_per_host,
        "require": require,
        **sizes,
    }
    run = Run(
        backend=backend,
        device=device,
        timeout=timeout,
        cpu=cpu,
        agree_timeout=agree_timeout,
        build_timeout=build_timeout,
    )
    return start(keywords, run)


def start(
    keywords: Mapping[str, Any],
    run: Run,
    *,
    command_line: Mapping[str, Any] | None = None,
    trace: bool | None = None,
) -> ParallelContext:
    """`init`, with the settings of a command line too; only the first rank traces."""
    place = Place.find(run)
    made: Made | None = None
    failure: Exception | None = None
    backend = run.backend or (world_backend() if dist.is_initialized() else default_backend())
    try:
        run.check()
        trace = trace if place.rank == 0 else False
        made = make(place.world_size, keywords, command_line=command_line, backend=backend, trace=trace)
        _check_placement(made.plan)
    except Exception as error:  # whatever it is: the others wait for this rank
        made, failure = None, error
    ranks = _taking_part(keywords.get("within"), place.world_size)
    defaults = Defaults(backend, run.timeout, run.cpu)
    built = Built(excepthook=sys.excepthook if place.owns_world else None)
    if place.rank not in ranks:
        # The plan is none of this rank's business, but the world is.
        if made is None:
            failure = failure or ConfigError("There is no plan.")
            _tell_everyone(place, failure)
            raise failure
        if place.owns_world:
            everyone = place.board(range(place.world_size))
            try:
                _start_world(place, run, everyone, backend, built)
            except BaseException as error:
                tell_failure(everyone, error)
                part(everyone, hosts=place.hosts)
                raise
        return ParallelContext(made.plan, place.rank, built, defaults)
    board = place.board(ranks)
    try:
        agree(board, _statement(made, failure, place, run, backend), run.patience())
        if made is None:
            raise failure or ConfigError("There is no plan.")
    except BaseException as error:
        if not isinstance(error, PgregistryError):
            tell_stopped(board, error)
            tell_failure(board, error)  # this rank may have agreed before it was interrupted
        leave(board, hosts=place.hosts, early=failure is not None)
        if len(ranks) < place.world_size:
            _tell_everyone(place, error)
        raise
    everyone = board
    try:
        if place.owns_world:
            everyone = board if len(ranks) == place.world_size else place.board(range(place.world_size))
            _start_world(place, run, everyone, backend, built)
        build(made.plan, board, defaults, built, seconds=run.build_timeout)
        context = ParallelContext(made.plan, place.rank, built, defaults)
        if made.registry.implementing("pgregistry_ready"):
            confirm(board, run.build_timeout, "groups")
            made.registry.tell("pgregistry_ready", _plugin_order(made), context=context)
        confirm(board, run.build_timeout, "last")
    except BaseException as error:
        earlier = tell_failure(board, error)
        tell_all = everyone is not board and built.world is None
        if tell_all:
            tell_failure(everyone, error)
        undo(built, abort=True)
        let_go(error)
        leave(board, hosts=place.hosts)
        if tell_all:
            part(everyone, hosts=place.hosts)
        if earlier is not None and isinstance(error, PgregistryError):
            raise earlier from error  # what happened here only followed from it
        raise
    return context


def _taking_part(within: object, world_size: int) -> Sequence[int]:
    """The ranks that compare a plan; where there is none, those among whom the others look for this one."""
    try:
        return sorted(ranks_within(world_size, within, Problems()) or range(world_size))
    except PgregistryError:
        return range(world_size)


def _tell_everyone(place: Place, error: BaseException) -> None:
    """Tell ranks outside of `within` that the world which they wait for will not start."""
    if not place.owns_world:
        return
    with suppress(PgregistryError):
        everyone = place.board(range(place.world_size))
        tell_failure(everyone, error)
        part(everyone, hosts=place.hosts)


def _start_world(place: Place, run: Run, everyone: Board, backend: str, built: Built) -> None:
    built.world = start_world(place, run, everyone, backend)
    built.farewell = partial(part, everyone, hosts=place.hosts)


def _check_placement(plan: Plan) -> None:
    """Refuse an order of `within` in which positions would not be those of torch, which sorts ranks."""
    ranks = plan.ranks or ()
    if all(low < high for low, high in pairwise(ranks)):
        return
    position = {rank: index for index, rank in enumerate(ranks)}
    for mode in plan.planned:
        for group in mode.groups:
            if list(group) != sorted(group, key=position.__getitem__):
                raise ConfigError(
                    f"within = {ranks} places the ranks of group {group} of mode {mode.name!r} in another order than "
                    "theirs, but a process group numbers its ranks in ascending order. Place only whole groups "
                    "differently."
                )


def _statement(made: Made | None, failure: Exception | None, place: Place, run: Run, backend: str) -> Statement:
    if made is None:
        return failed(place.world_size, failure or ConfigError("no plan"))
    plugins = {
        status.found.plugin.name: status.reason or f"{status.found.plugin.distribution} {status.found.plugin.version}"
        for status in made.registry.statuses
    }
    world = dist.group.WORLD
    bound = run.device is not None if world is None else world.bound_device_id is not None
    told = {
        "backend": backend,
        "timeout": "torch's default" if run.timeout is None else f"{run.timeout:g} s",
        "cpu": str(run.cpu),
        "world": "started by init" if place.owns_world else "there before init",
        "building": how(bound=bound and str(run.device) != "cpu"),
        "ready hooks": ", ".join(made.registry.implementing("pgregistry_ready")) or "none",
    }
    return state(made.plan, plugins, told, environment(WIRE))


def _plugin_order(made: Made) -> list[str]:
    return [mode.plugin.name for mode in made.plan.planned]
