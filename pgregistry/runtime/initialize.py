"""`init()`: from the launcher's environment, or an existing world, to process groups."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.distributed as dist

from pgregistry.building.backend import accelerator_backend, default_group_backend, default_group_is_bound
from pgregistry.building.build import build, build_strategy
from pgregistry.building.process_groups import ProcessGroups, release_frames
from pgregistry.building.specs import Defaults
from pgregistry.coordination.agreement import Agreement
from pgregistry.coordination.barrier import announce_failure, barrier
from pgregistry.coordination.cleanup import delete_keys
from pgregistry.coordination.proposal import WIRE, Proposal, propose, propose_failure
from pgregistry.coordination.store import ScopedStore, environment
from pgregistry.errors import BuildError, ConfigError, PgregistryError, Problems
from pgregistry.planning.planner import Made, make
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.context import ParallelContext
from pgregistry.runtime.default_group import leave_world, start_default_group
from pgregistry.runtime.process import InitOptions, ProcessInfo, find_process
from pgregistry.settings.merge import read_settings
from pgregistry.settings.tracing import tracing
from pgregistry.vocabulary import Mode

log = logging.getLogger("pgregistry")


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

    Starts the default process group from the launcher's environment (torchrun, Slurm, MPI), or uses
    the existing one.

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
        ranks_per_host: The number of ranks on one host.
        require: Distributions that must be installed.
        backend: The torch backend of modes that name none. None is that of the accelerator, or gloo without one.
        device: Bind the default process group to this device (torch's `device_id`).
        timeout: The timeout of process groups whose mode gives none, in seconds.
        cpu: Give every mode a gloo process group beside one of another backend.
        agree_timeout: How long ranks may take to come, in seconds.
        build_timeout: How long the build may take, in seconds.
        **sizes: Sizes by name, as `tensor=2`.

    Raises:
        ConfigError: if the sizes, names or files given cannot work.
        PluginError: if a plugin fails.
        PlanMismatch: if the ranks disagree about the plan, or one does not come.
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
    options = InitOptions(
        backend=backend,
        device=device,
        timeout=timeout,
        cpu=cpu,
        agree_timeout=agree_timeout,
        build_timeout=build_timeout,
    )
    return initialize(keywords, options)


def initialize(
    keywords: Mapping[str, Any],
    options: InitOptions,
    *,
    command_line: Mapping[str, Any] | None = None,
) -> ParallelContext:
    """Do what `init` does, with the settings of a command line too; only the first rank traces."""
    process = find_process(options)
    with tracing(None if process.rank == 0 else False):
        return _initialize(process, keywords, options, command_line)


def _initialize(
    process: ProcessInfo, keywords: Mapping[str, Any], options: InitOptions, command_line: Mapping[str, Any] | None
) -> ParallelContext:
    attempt = _Attempt.at(process, keywords, options, command_line)
    run = _Run(process, attempt.ranks)
    with _announcing_failure(run):
        if process.rank in attempt.ranks:
            run.agreement = Agreement(run.scope(), attempt.proposal(process, options), options.patience())
            run.agreement.reach()
        run.stage = "planned"
        plan = attempt.plan()
        run.stage = "building"
        if process.owns_world:
            run.start_world(options, attempt.backend)
        if process.rank in attempt.ranks:
            build(plan, run.scope(), attempt.defaults, run.groups, seconds=options.build_timeout)
        context = ParallelContext(plan, process.rank, run.groups, attempt.defaults)
        if process.rank in attempt.ranks:
            attempt.call_ready_hooks(context, run.scope(), options.build_timeout)
            barrier(run.scope(), options.build_timeout, "outcome")
            if not process.owns_world:  # the store lives on
                run.groups.farewell = partial(delete_keys, run.scope())
    return context


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What planning came to on this rank: a plan, or the error that it has yet to raise.

    Planning never raises by itself, because the other ranks wait for this one.
    """

    made: Made | None
    failure: BaseException | None
    ranks: Sequence[int]
    backend: str
    defaults: Defaults

    @staticmethod
    def at(
        process: ProcessInfo,
        keywords: Mapping[str, Any],
        options: InitOptions,
        command_line: Mapping[str, Any] | None,
    ) -> _Attempt:
        made: Made | None = None
        failure: BaseException | None = None
        backend = options.backend or (default_group_backend() if dist.is_initialized() else accelerator_backend())
        try:
            options.check()
            made = make(process.world_size, keywords, command_line=command_line, backend=backend)
            _check_placement(made.plan)
        except BaseException as error:  # an interrupt too: the other ranks wait for this one
            made, failure = None, error
        ranks = _taking_part(keywords.get("within"), process.world_size)
        return _Attempt(made, failure, ranks, backend, Defaults(backend, options.timeout, options.cpu))

    def plan(self) -> Plan:
        """Return the plan, or raise the error of planning."""
        if self.made is None:
            raise self.failure or ConfigError("There is no plan.")
        return self.made.plan

    def proposal(self, process: ProcessInfo, options: InitOptions) -> Proposal:
        if self.made is None:
            return propose_failure(process.world_size, self.failure or ConfigError("no plan"))
        registry = self.made.registry
        plugins = {
            status.installed.plugin.name: status.reason
            or f"{status.installed.plugin.distribution} {status.installed.plugin.version}"
            for status in registry.statuses
        }
        to_bind = options.device is not None and str(options.device) != "cpu"
        strategy = build_strategy(bound=to_bind if process.owns_world else default_group_is_bound())
        settings = {
            "backend": self.backend,
            "timeout": "torch's default" if options.timeout is None else f"{options.timeout:g} s",
            "cpu": str(options.cpu),
            "world": "started by init" if process.owns_world else "there before init",
            "building": {"by_name": "name", "by_public_calls": "public"}[strategy],
            "ready hooks": ", ".join(registry.implementing("pgregistry_ready")) or "none",
        }
        return propose(self.made.plan, plugins, settings, environment(WIRE))

    def call_ready_hooks(self, context: ParallelContext, scope: ScopedStore, seconds: float) -> None:
        """Call the hooks when the process groups of all ranks exist."""
        if self.made is not None and self.made.registry.implementing("pgregistry_ready"):
            barrier(scope, seconds, "groups")
            order = [mode.plugin.name for mode in self.made.plan.planned]
            self.made.registry.call_in_order("pgregistry_ready", order, context=context)


@dataclass(slots=True)
class _Run:
    """How far one `init` has come on this rank: what must be undone, and which ranks must be told, if it fails.

    Attributes:
        process: This process.
        ranks: The ranks that compare a plan and build it.
        agreement: The comparison, once it has begun.
        stage: `planned` when the plans have been compared, `building` when they are equal.
        groups: The process groups so far.
    """

    process: ProcessInfo
    ranks: Sequence[int]
    agreement: Agreement | None = None
    stage: Literal["comparing", "planned", "building"] = "comparing"
    groups: ProcessGroups = field(default_factory=ProcessGroups)
    _scopes: dict[bool, ScopedStore] = field(default_factory=dict)

    def scope(self, *, everyone: bool = False) -> ScopedStore:
        """Return the scope of the ranks that build, or of all ranks of the world; often they are one."""
        everyone = everyone or len(self.ranks) == self.process.world_size
        if everyone not in self._scopes:
            self._scopes[everyone] = self.process.scope(range(self.process.world_size) if everyone else self.ranks)
        return self._scopes[everyone]

    def start_world(self, options: InitOptions, backend: str) -> None:
        """Start the default process group, with the ranks outside of `within` too."""
        everyone = self.scope(everyone=True)
        self.groups.excepthook = sys.excepthook
        self.groups.default_group = start_default_group(self.process, options, everyone, backend)
        self.groups.farewell = partial(leave_world, everyone, hosts=self.process.hosts)

    @property
    def waited_for(self) -> bool:
        """Return whether ranks that do not build with this one wait for it to start the world."""
        return (
            self.process.owns_world and self.groups.default_group is None and len(self.ranks) < self.process.world_size
        )


@contextmanager
def _announcing_failure(run: _Run) -> Iterator[None]:
    """Publish whatever ends `init` on this rank, destroy what was built, and leave the store, its host last.

    If another rank failed first, its error is raised here too: the error of this rank only followed from it.
    """
    try:
        yield
    except BaseException as error:
        first = _announce(run, error)
        waited_for = run.waited_for
        run.groups.close(abort=True)
        release_frames(error)
        if run.agreement is not None:
            run.agreement.leave(hosts=run.process.hosts)
        if waited_for:
            leave_world(run.scope(everyone=True), hosts=run.process.hosts)
        if first is not None and isinstance(error, PgregistryError):
            raise first from error
        raise


def _announce(run: _Run, error: BaseException) -> BuildError | None:
    """Publish an error wherever ranks wait for this one; return the error of a rank that failed first."""
    first = None
    # A mismatch, and an error of planning, have been published by the agreement.
    unexpected = not isinstance(error, PgregistryError)
    if run.agreement is not None:
        interrupted = unexpected and run.stage == "comparing"
        if interrupted:
            run.agreement.stop(error)
        if interrupted or run.stage == "building":
            first = announce_failure(run.scope(), error)
    if run.waited_for:
        announce_failure(run.scope(everyone=True), error)
    return first


def _taking_part(within: object, world_size: int) -> Sequence[int]:
    """Return the ranks that compare a plan. If there is no plan, these are where the others look for this rank."""
    settings = read_settings(Problems(), keywords={"within": within}, environ={}, world_size=world_size)
    return sorted(settings.within.value) if settings.within else range(world_size)


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
                    f"within = {ranks} gives the ranks of group {group} of mode {mode.name!r} another order than "
                    "ascending, but a process group numbers its ranks in ascending order. Only whole groups may be "
                    "placed differently."
                )
