"""`init()`: from the launcher's environment, or an existing world, to process groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pgregistry import launcher
from pgregistry.arguments import check_backend, check_timeout
from pgregistry.axes import Mode
from pgregistry.build import Built, Defaults, build, undo
from pgregistry.context import ParallelContext
from pgregistry.errors import BuildError, ConfigError, PluginError
from pgregistry.planner import Made, make


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
        "within": within,
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


@dataclass(frozen=True, slots=True)
class Run:
    """What `init` takes beside the plan."""

    backend: str | None = None
    device: torch.device | str | int | None = None
    timeout: float | None = None
    cpu: bool = False
    agree_timeout: float = 300
    build_timeout: float = 300

    def __post_init__(self) -> None:
        try:
            check_backend(self.backend, "init()")
            for name in ("timeout", "agree_timeout", "build_timeout"):
                check_timeout(getattr(self, name), "init()", name)
        except PluginError as error:
            raise ConfigError(str(error)) from None


def start(keywords: Mapping[str, Any], run: Run, *, command_line: Mapping[str, Any] | None = None) -> ParallelContext:
    """`init`, with the settings of a command line too."""
    owns_world = not dist.is_initialized()
    if owns_world:
        place = _place()
        made = _make(place.world_size, keywords, run, command_line)
        _start_world(place, run)
    else:
        made = _make(dist.get_world_size(), keywords, run, command_line)
    built = Built()
    try:
        rank = dist.get_rank()
        build(made.plan, rank, Defaults(run.backend, run.timeout, run.cpu), built)
        # A rank that is done must not leave, nor call a ready hook, while others still connect.
        dist.barrier()
        context = ParallelContext(made.plan, rank, built, owns_world=owns_world)
        _tell_ready(made, context)
    except BaseException:
        undo(built, owns_world=owns_world, abort=True)
        raise
    return context


def _make(world_size: int, keywords: Mapping[str, Any], run: Run, command_line: Mapping[str, Any] | None) -> Made:
    backend = run.backend or (str(dist.get_backend()) if dist.is_initialized() else _default_backend())
    return make(world_size, keywords, command_line=command_line, backend=backend)


def _place() -> launcher.Launch:
    place = launcher.read(os.environ)
    if place is None:
        known = ", ".join(names.launcher for names in launcher.LAUNCHERS)
        raise ConfigError(
            f"No launcher said which rank this process is (known: {known}; RANK and WORLD_SIZE do for others).\n"
            "Start it with torchrun --nproc-per-node N …, or call torch.distributed.init_process_group first."
        )
    if advice := launcher.rendezvous_advice(place, os.environ):
        raise ConfigError(f"{advice}.")
    return place


def _default_backend() -> str:
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return dist.get_default_backend_for_device(accelerator.type) if accelerator else "gloo"


def _start_world(place: launcher.Launch, run: Run) -> None:
    try:
        device = None if run.device is None else torch.device(run.device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device = {run.device!r} is no torch device: {error}") from error
    if device is not None and device.type != "cpu" and ":" not in str(device):
        device = torch.device(device.type, place.local_rank or 0)
    try:
        dist.init_process_group(
            run.backend or _default_backend(),
            rank=place.rank,
            world_size=place.world_size,
            timeout=None if run.timeout is None else timedelta(seconds=run.timeout),
            device_id=None if device is None or device.type == "cpu" else device,
        )
    except Exception as error:
        raise BuildError(
            f"Rank {place.rank} of {place.world_size} ({place.launcher}) could not join the default process group "
            f"at {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}: {type(error).__name__}: {error}"
        ) from error


def _tell_ready(made: Made, context: ParallelContext) -> None:
    """Call `pgregistry_ready`, plugin by plugin, in the order in which their modes were built."""
    order = [mode.plugin.name for mode in made.plan.planned]
    made.registry.tell("pgregistry_ready", order, context=context)
