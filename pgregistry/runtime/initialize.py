"""`init()`: from the launcher's environment, or an existing world, to process groups."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal

import torch.distributed as dist

from pgregistry.building.build import build
from pgregistry.building.builder import GroupBuilder
from pgregistry.building.by_public_calls import create_fake
from pgregistry.building.communicators.backend import make_current, rank_device, world_backend
from pgregistry.building.process_groups import ProcessGroups, release_frames
from pgregistry.building.specs import Defaults
from pgregistry.coordination.abandonable import wait_for_given_up
from pgregistry.coordination.agreement import Agreement
from pgregistry.coordination.barrier import announce_failure, barrier, delete_keys, watch_outcome
from pgregistry.coordination.proposal import propose_failure
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.diagnosis.watch.start import start_watch
from pgregistry.errors import ConfigError, PgregistryError, Problems
from pgregistry.planning.explanation import log_hosts
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.arguments import read_arguments
from pgregistry.runtime.attempt import Attempt
from pgregistry.runtime.contexts.context import ParallelContext
from pgregistry.runtime.contexts.open_contexts import OPEN
from pgregistry.runtime.default_group import leave_world, start_default_group
from pgregistry.runtime.interface import choose_interface
from pgregistry.runtime.process import InitOptions, ProcessInfo, find_process, is_first
from pgregistry.settings.tracing import tracing

log = logging.getLogger("pgregistry")

#: One `init` at a time in a process. In `pgregistry_ready` the thread that holds it may call `init` again.
_RUNNING: Final = threading.RLock()


def initialize(
    keywords: Mapping[str, Any],
    *,
    args: object = (),
    plan: Plan | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> ParallelContext:
    """Do what `init` does, with the settings of a command line too; only the first rank traces.

    Raises:
        ConfigError: if another thread of this process is in `init`: ranks would pair the two by chance.
    """
    if not _RUNNING.acquire(blocking=False):
        raise ConfigError(
            "init() is running in another thread of this process. Call init() from one thread at a time: the other "
            "ranks could not tell the two apart."
        )
    try:
        with ExitStack() as stack:
            return _initialize(*_attempt(stack, keywords, args, plan, command_line))
    except BaseException as error:
        release_frames(error)  # those of `_initialize` too: the error keeps no connection of this process open
        raise
    finally:
        _RUNNING.release()


def _attempt(
    stack: ExitStack,
    keywords: Mapping[str, Any],
    args: object,
    plan: Plan | None,
    command_line: Mapping[str, Any] | None,
) -> tuple[ProcessInfo, Attempt]:
    """Find this process, and plan; if that is interrupted in a world that is there, find out who waits for this rank.

    Tracing begins here, and lasts as long as the stack.

    Raises:
        ConfigError, PlanMismatch: if this process has no place among the ranks, or cannot reach them.
    """

    def typed(problems: Problems) -> dict[str, Any]:
        return {**read_arguments(args, problems), **(command_line or {})}

    def patience() -> float:
        return InitOptions.before_reading(keywords, typed(Problems())).agree_timeout

    problems = Problems()
    try:
        stack.enter_context(tracing(None if is_first() else False))
        settings = typed(problems)
        if OPEN.current() is not None and OPEN.current().process_groups.state == "forked":
            raise ConfigError(
                "This process was forked from one with an open context, whose world it cannot leave. Start it with "
                "multiprocessing's method spawn to call init() in it."
            )
        if not wait_for_given_up(0):
            wait_for_given_up(patience() / 2)  # the other ranks wait for this one as long as that, and longer
        process = find_process(patience)
        return process, Attempt.at(process, keywords, settings, problems, plan)
    except PgregistryError:
        raise
    except BaseException as error:
        if not dist.is_initialized():
            raise
        with suppress(PgregistryError):
            process = find_process(patience)
            attempt = Attempt.at(process, keywords, typed(Problems()), Problems(), plan)
            return process, replace(attempt, outcome=error)
        raise


def _initialize(process: ProcessInfo, attempt: Attempt) -> ParallelContext:
    if process.fake:
        return _dry_run(process, attempt)
    options, run = attempt.options, _Run(process, attempt.ranks)
    takes_part = process.rank in attempt.ranks
    with _announcing_failure(run):
        try:
            scope = run.scope()
        except PgregistryError:
            attempt.plan()  # if it raises, that counts more than a store that is gone
            raise
        arrivals = process.arrivals(scope, attempt.made)
        run.agreement = Agreement(scope, attempt.proposal(process), options.agree_timeout, arrivals)
        if takes_part:
            run.agreement.reach()
        else:
            attempt.plan()  # if it raises, the ranks that compare their plans raise too
            run.agreement.watch()
        plan = attempt.plan()
        run.stage = "building"
        make_current(rank_device(options.device, process.local_rank))
        if process.owns_world:
            choose_interface(process, arrivals)
            run.start_world(options)
        if takes_part:
            number, seconds = run.agreement.number, options.build_timeout
            build(GroupBuilder(plan, run.scope(), attempt.defaults, run.groups, seconds, number))
        context = run.context = attempt.context(process, run.groups)
        if takes_part:
            attempt.call_ready_hooks(context, run.scope(), options.build_timeout)
            barrier(run.scope(), options.build_timeout, "outcome")
            run.start_watch(plan, options, attempt.defaults)
        else:
            watch_outcome(run.scope(), options.build_timeout)
        if process.rank == attempt.ranks[0]:
            log_hosts(plan, arrivals.domains)
        if takes_part and not process.owns_world:  # the store lives on
            run.groups.farewells.append(partial(delete_keys, run.scope()))
    return context


def _dry_run(process: ProcessInfo, attempt: Attempt) -> ParallelContext:
    """Make the context of one rank in a world of torch's backend `fake`."""
    run = _Run(process, attempt.ranks)
    try:
        create_fake(attempt.plan(), process.rank, attempt.defaults, run.groups)
        run.context = attempt.context(process, run.groups)
        if process.rank in attempt.ranks:
            attempt.call_ready_hooks(run.context)
    except BaseException:
        run.undo()
        raise
    return run.context


@dataclass(slots=True)
class _Run:
    """The progress of one `init` on this rank: what must be undone if it fails, and which ranks wait for an error.

    Attributes:
        process: This process.
        ranks: The ranks that compare a plan and build it.
        agreement: The comparison, once it has begun.
        stage: `building` when the plans have been compared and are equal.
        groups: The process groups so far.
        context: The context, once they are all there.
    """

    process: ProcessInfo
    ranks: Sequence[int]
    agreement: Agreement | None = None
    stage: Literal["comparing", "building"] = "comparing"
    groups: ProcessGroups = field(default_factory=ProcessGroups)
    context: ParallelContext | None = None
    _scopes: dict[bool, ScopedStore] = field(default_factory=dict)

    def scope(self, *, everyone: bool = False) -> ScopedStore:
        """Return the scope of the ranks that build, or of all ranks of the world; often they are one."""
        everyone = everyone or len(self.ranks) == self.process.world_size
        if everyone not in self._scopes:
            self._scopes[everyone] = self.process.scope(range(self.process.world_size) if everyone else self.ranks)
        return self._scopes[everyone]

    def start_world(self, options: InitOptions) -> None:
        """Start the default process group, with the ranks outside of `within` too."""
        everyone = self.scope(everyone=True)
        start_default_group(self.process, options, everyone, world_backend(options.backend), self.groups)
        self.groups.farewells.append(partial(leave_world, everyone, hosts=self.process.hosts))

    def start_watch(self, plan: Plan, options: InitOptions, defaults: Defaults) -> None:
        """Start the watch of the process groups, which ends with them."""
        start_watch(plan, self.scope(), options.watch, options.watch_dir, defaults, self.groups)

    def undo(self) -> None:
        """Destroy what was built, without waiting for other ranks."""
        if self.context is None:
            self.groups.close(abort=True)
        else:
            self.context.close(abort=True)
            self.context = None

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
        server = list(run.process.server)  # the others read here why this rank stops, also if the world is gone
        first = _announce(run, error)
        waited_for = run.waited_for
        run.undo()
        release_frames(error)
        if run.agreement is not None:
            run.agreement.leave(hosts=run.process.hosts)
        if waited_for:
            leave_world(run.scope(everyone=True), hosts=run.process.hosts)
        del server
        run.process.server.clear()  # this ends the wait of threads that were given up, on all ranks
        if first is not None and isinstance(error, PgregistryError):
            raise first from error
        raise


def _announce(run: _Run, error: BaseException) -> PgregistryError | None:
    """Publish an error wherever ranks wait for this one; return the error of a rank that failed first."""
    first = announce_failure(run.scope(everyone=True), error) if run.waited_for else None
    error = first or error
    if run.agreement is None and not isinstance(error, PgregistryError):  # an interrupt just before it
        try:
            mine = propose_failure(run.process.world_size, error)
            run.agreement = Agreement(run.scope(), mine, 0)
        except PgregistryError as failure:
            log.debug("rank %d could not publish that it was interrupted: %s", run.process.rank, failure)
    if run.agreement is not None:
        building = run.stage == "building"
        if run.stage == "comparing" and not run.agreement.settled:
            building = run.agreement.stop(error) == "go"
        if building:
            first = announce_failure(run.scope(), error) or first
    return first
