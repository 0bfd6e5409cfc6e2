"""Planning on one rank of a run: a plan, or an error that the other ranks must learn first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist

from pgregistry.building.build import build_strategy, check_buildable, why_public
from pgregistry.building.by_name import numbers_in_use
from pgregistry.building.communicators.availability import check_torch
from pgregistry.building.communicators.backend import accelerator_backend, default_group_backend, rank_device
from pgregistry.building.process_groups import ProcessGroups
from pgregistry.building.specs import Defaults
from pgregistry.coordination.abandonable import wait_for_given_up
from pgregistry.coordination.barrier import barrier
from pgregistry.coordination.proposal import WIRE, Proposal, propose, propose_failure
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, Problems
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans.expectation import check_expected
from pgregistry.planning.plans.plan import Plan
from pgregistry.registry.manager import NOT_PLANNED, Registry
from pgregistry.runtime.arguments import Arguments, ranks_of
from pgregistry.runtime.contexts.context import ParallelContext
from pgregistry.runtime.given_plan import load_plugins, read_beside
from pgregistry.runtime.process import InitOptions, ProcessInfo
from pgregistry.settings.merge import read_settings


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of planning on this rank.

    Attributes:
        outcome: The plan and its plugins, or the error. It is raised only when it has been published
            for the other ranks, which wait for this one.
        ranks: The ranks that compare a plan. If there is none, the other ranks look for this one here.
        ranks_read: Whether these are known; if not, they are all ranks, and the other ranks may wait elsewhere.
        options: The run's settings beside the plan, in the form in which ranks compare them.
        backend: The backend of modes that name none.
        defaults: The run's settings for modes that have none.
    """

    outcome: tuple[Plan, Registry] | BaseException
    ranks: Sequence[int]
    ranks_read: bool
    options: InitOptions
    backend: str
    defaults: Defaults

    @staticmethod
    def at(process: ProcessInfo, arguments: Arguments) -> Attempt:
        """Plan, or take the plan that is given, and keep whatever that raises, an interrupt too."""
        world_size, plan, problems = process.world_size, arguments.plan, Problems()
        options, backend, ranks = InitOptions(), "gloo", None
        try:
            check_torch()
            backend = accelerator_backend()
            _check_nothing_goes_on()
            keywords, typed = arguments.keywords, arguments.typed(problems)
            if plan is None:
                settings = read_settings(problems, keywords=keywords, command_line=typed, world_size=world_size)
                ranks = ranks_of(settings, problems, world_size)
            else:
                settings = read_beside(problems, keywords, typed)
                ranks = arguments.ranks(world_size)
            with problems.collecting():
                options = InitOptions.of(settings)
            backend = options.backend or (default_group_backend() if dist.is_initialized() else backend)
            if plan is None:
                planner = Planner.read(world_size, {}, settings=settings, backend=backend, problems=problems)
                outcome = planner.plan(), planner.registry
            else:
                outcome = plan, load_plugins(plan, settings, problems)
            check_expected(outcome[0], settings.run.get("expect"))
            if not process.fake:
                named = settings.run.get("backend")
                check_buildable(
                    outcome[0],
                    build_strategy(),
                    _defaults(backend, options),
                    backend_origin=named.origin if named else "default process group",
                    device=None if options.device is None else torch.device(options.device),
                    local_rank=process.local_rank,
                )
        except BaseException as error:
            return Attempt.failed(process, arguments, error, options, ranks, backend)
        return Attempt(outcome, ranks or range(world_size), True, options, backend, _defaults(backend, options))

    @staticmethod
    def failed(
        process: ProcessInfo,
        arguments: Arguments,
        error: BaseException,
        options: InitOptions | None = None,
        ranks: Sequence[int] | None = None,
        backend: str = "gloo",
    ) -> Attempt:
        """Return the attempt of a rank that has no plan. What it had not read when it failed is read alone."""
        world_size, options = process.world_size, options or InitOptions()
        with suppress(Exception):
            if options == InitOptions():
                options = InitOptions.patient(arguments.only("agree_timeout", Problems()))
            if ranks is None:
                ranks = arguments.ranks(world_size)
        known = ranks is not None
        return Attempt(error, ranks or range(world_size), known, options, backend, _defaults(backend, options))

    @property
    def made(self) -> Plan | None:
        """Return the plan, or None if planning failed."""
        return None if isinstance(self.outcome, BaseException) else self.outcome[0]

    def plan(self) -> Plan:
        """Return the plan, or raise the error of planning."""
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome[0]

    def proposal(self, process: ProcessInfo) -> Proposal:
        """Return what this rank proposes to the others."""
        if isinstance(self.outcome, BaseException):
            return replace(propose_failure(process.world_size, self.outcome), origin=process.origin)
        plan, registry = self.outcome
        plugins = {
            one.plugin.name: status.reason
            or (f"{one.plugin.distribution} {one.plugin.version}" if one.named_by is None else "named by plugins=")
            for status in registry.statuses
            for one in [status.installed]
            if status.reason != NOT_PLANNED  # a rank that made the same plan of sizes may have it on
        }
        device = self.options.device
        settings = {
            "backend": self.backend,
            "timeout": _exact(self.options.timeout),
            "cpu": str(self.options.cpu),
            "watch": _exact(self.options.watch) if self.options.watch else "off",
            "device": "not bound" if device is None else torch.device(device).type,
            "world": "started by init" if process.owns_world else "there before init",
            "building": {"by_name": "name", "by_public_calls": "public"}[build_strategy()],
            "ready hooks": ", ".join(registry.implementing("pgregistry_ready")) or "none",
        }
        wire = {name: os.environ[name] for name in WIRE if name in os.environ}
        proposal = propose(plan, plugins, settings, wire, numbers_in_use(plan))
        return replace(proposal, origin=process.origin, why={"building": why_public()})

    def context(self, process: ProcessInfo, groups: ProcessGroups) -> ParallelContext:
        """Return the context of a plan whose process groups exist."""
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        plan, registry = self.outcome
        device = rank_device(self.options.device, process.local_rank)
        return ParallelContext(
            plan, process.rank, groups, self.defaults, device=device, local_rank=process.local_rank, registry=registry
        )

    def call_ready_hooks(self, context: ParallelContext, scope: ScopedStore | None = None, seconds: float = 0) -> None:
        """Call `pgregistry_ready` of every plugin, when the process groups of all ranks of the scope exist."""
        if isinstance(self.outcome, BaseException):
            return
        plan, registry = self.outcome
        if registry.implementing("pgregistry_ready"):
            if scope is not None:
                barrier(scope, seconds, "groups")
            registry.call_in_order("pgregistry_ready", [mode.plugin.name for mode in plan.planned], context=context)


def _check_nothing_goes_on() -> None:
    if not wait_for_given_up(0):
        raise BuildError(
            "On this rank torch still makes a process group of an earlier init() that failed. Call init() "
            "again when torch has given up, which takes as long as the timeout of that group, or restart this process."
        )


def _defaults(backend: str, options: InitOptions) -> Defaults:
    return Defaults(backend, options.timeout, options.cpu)


def _exact(seconds: float | None) -> str:
    """Return a timeout with all its digits: ranks with timeouts that differ at all share groups in other ways."""
    return "torch's default" if seconds is None else f"{repr(seconds).removesuffix('.0')} s"
