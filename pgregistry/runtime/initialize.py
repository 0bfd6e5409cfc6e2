"""`init()`: from the launcher's environment, or an existing world, to process groups."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

import torch.distributed as dist

from pgregistry.building.build import build
from pgregistry.building.builder import GroupBuilder
from pgregistry.building.by_public_calls import create_fake
from pgregistry.building.communicators.backend import make_current, rank_device, world_backend
from pgregistry.building.process_groups import ProcessGroups, release_frames
from pgregistry.coordination.abandonable import wait_for_given_up
from pgregistry.coordination.agreement import Agreement
from pgregistry.coordination.barrier import announce_failure, barrier, delete_keys, watch_outcome
from pgregistry.coordination.proposal import propose_failure
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.diagnosis.watch.start import start_watch
from pgregistry.errors import ConfigError, PgregistryError, PlanMismatch, Problems, describe
from pgregistry.planning.explanation import log_hosts
from pgregistry.runtime.arguments import Arguments
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


def initialize(arguments: Arguments) -> ParallelContext:
    """Do what `init` does, with the settings of a command line too; only the first rank traces.

    Raises:
        ConfigError: if another thread of this process is in `init`: ranks would pair the two by chance.
    """
    try:
        return _initialize(arguments)
    except BaseException as error:
        release_frames(error)  # those of `_initialize` too: the error keeps no connection of this process open
        raise


def _initialize(arguments: Arguments) -> ParallelContext:
    """Do it, or publish whatever ends it on this rank, from the first line to the last.

    If another rank failed first, its error is raised here too: the error of this rank only followed from it.
    """
    process: ProcessInfo | None = None
    run: _Run | None = None
    try:
        if not _RUNNING.acquire(blocking=False):
            raise ConfigError(
                "init() is running in another thread of this process. Call init() from one thread at a time: the "
                "other ranks could not tell the two apart."
            )
        with tracing(None if is_first() else False):
            process = _find_process(arguments)
            run = _Run(process, Attempt.at(process, arguments))
            context = _dry_run(run) if process.fake else _build(run)
        _RUNNING.release()
        return context  # here Python lets no Ctrl-C in that would lose it
    except BaseException as error:
        try:
            if run is None and not isinstance(error, PgregistryError):
                run = _interrupted_early(process, arguments, error)
            first = run.fail(error) if run else None
        finally:
            release_frames(error)
            with suppress(RuntimeError):  # this thread does not hold it
                _RUNNING.release()
        own = run is not None and error is run.attempt.outcome  # it did not follow from that of another rank
        if first is not None and isinstance(error, PgregistryError) and not own:
            raise first from error
        raise


def _find_process(arguments: Arguments) -> ProcessInfo:
    """Find this process among the ranks, when no thread of an earlier `init` is in the way of this one.

    Raises:
        ConfigError, PlanMismatch: if this process has no place among the ranks, or cannot reach them.
    """

    def patience() -> float:
        return InitOptions.patient(arguments.only("agree_timeout", Problems())).agree_timeout

    if OPEN.current() is not None and OPEN.current().process_groups.state == "forked":
        raise ConfigError(
            "This process was forked from one with an open context, whose world it cannot leave. Start it with "
            "multiprocessing's method spawn to call init() in it."
        )
    if not wait_for_given_up(0):
        wait_for_given_up(patience() / 2)  # the other ranks wait for this one as long as that, and longer
    return find_process(patience)


def _interrupted_early(process: ProcessInfo | None, arguments: Arguments, error: BaseException) -> _Run | None:
    """Return a run that can only fail, if the other ranks may wait for this one and can be reached."""
    if process is not None:
        return _Run(process, Attempt.failed(process, arguments, error))
    if not dist.is_initialized() or not _RUNNING.acquire(blocking=False):
        return None
    _RUNNING.release()
    with suppress(PgregistryError):
        process = find_process(lambda: 0)  # not called
        return _Run(process, Attempt.failed(process, arguments, error))
    return None


def _build(run: _Run) -> ParallelContext:
    process, attempt = run.process, run.attempt
    options, takes_part = attempt.options, process.rank in attempt.ranks
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
        run.start_world()
    if takes_part:
        number, seconds = run.agreement.number, options.build_timeout
        build(GroupBuilder(plan, run.scope(), attempt.defaults, run.groups, seconds, number))
    context = run.context = attempt.context(process, run.groups)
    if takes_part:
        attempt.call_ready_hooks(context, run.scope(), options.build_timeout)
        barrier(run.scope(), options.build_timeout, "outcome")
        start_watch(plan, run.scope(), options.watch, options.watch_dir, attempt.defaults, run.groups)
    else:
        watch_outcome(run.scope(), options.build_timeout)
    if process.rank == attempt.ranks[0]:
        log_hosts(plan, arrivals.domains)
    if takes_part and not process.owns_world:  # the store lives on
        run.groups.farewells.append(partial(delete_keys, run.scope()))
    return context


def _dry_run(run: _Run) -> ParallelContext:
    """Make the context of one rank in a world of torch's backend `fake`."""
    process, attempt = run.process, run.attempt
    create_fake(attempt.plan(), process.rank, attempt.defaults, run.groups)
    run.context = attempt.context(process, run.groups)
    if process.rank in attempt.ranks:
        attempt.call_ready_hooks(run.context)
    return run.context


@dataclass(slots=True)
class _Run:
    """The progress of one `init` on this rank: what must be undone if it fails, and which ranks wait for an error.

    Attributes:
        process: This process.
        attempt: What this rank has planned.
        agreement: The comparison, once it has begun.
        stage: `building` when the plans have been compared and are equal.
        groups: The process groups so far.
        context: The context, once they are all there.
    """

    process: ProcessInfo
    attempt: Attempt
    agreement: Agreement | None = None
    stage: Literal["comparing", "building"] = "comparing"
    groups: ProcessGroups = field(default_factory=ProcessGroups)
    context: ParallelContext | None = None
    _scopes: dict[bool, ScopedStore] = field(default_factory=dict)

    def scope(self, *, everyone: bool = False) -> ScopedStore:
        """Return the scope of the ranks that build, or of all ranks of the world; often they are one."""
        ranks, size = self.attempt.ranks, self.process.world_size
        everyone = everyone or len(ranks) == size
        if everyone not in self._scopes:
            self._scopes[everyone] = self.process.scope(range(size) if everyone else ranks)
        return self._scopes[everyone]

    def start_world(self) -> None:
        """Start the default process group, with the ranks outside of `within` too."""
        everyone, options = self.scope(everyone=True), self.attempt.options
        start_default_group(self.process, options, everyone, world_backend(options.backend), self.groups)
        self.groups.farewells.append(partial(leave_world, everyone, hosts=self.process.hosts))

    def fail(self, error: BaseException) -> PgregistryError | None:
        """Publish an error, destroy what was built, and leave the store, its host last.

        Returns:
            The error of a rank that failed first, if there is one.
        """
        process, first = self.process, None
        server = list(process.server)  # the others read here why this rank stops, also if the world is gone
        waited_for = self._waited_for
        try:
            first = None if process.fake else self._announce(error)
        except PgregistryError as failure:  # the store is gone
            log.debug("rank %d could not publish that it stops: %s", process.rank, failure)
        finally:
            self._undo()
            release_frames(error)
        if self.agreement is not None:
            self.agreement.leave(hosts=process.hosts, everywhere=not self.attempt.ranks_read)
        if waited_for:
            with suppress(PgregistryError):
                leave_world(self.scope(everyone=True), hosts=process.hosts)
        del server
        process.server.clear()  # this ends the wait of threads that were given up, on all ranks
        return first

    def _announce(self, error: BaseException) -> PgregistryError | None:
        """Publish an error wherever ranks wait for this one; return the error of a rank that failed first."""
        first = None
        if self._waited_for:
            shared = error
            if self.stage == "comparing" and not isinstance(error, PlanMismatch):
                text = f"Rank {self.process.rank} failed before ranks agreed: {describe(error)}"
                shared = PlanMismatch(text, ranks=[self.process.rank])
            first = announce_failure(self.scope(everyone=True), shared)
        error = first or error
        if self.agreement is None and not isinstance(error, PgregistryError):  # an interrupt just before it
            mine = propose_failure(self.process.world_size, error)
            self.agreement = Agreement(self.scope(), mine, 0)
        if self.agreement is not None:
            building = self.stage == "building"
            if self.stage == "comparing" and not self.agreement.settled:
                building = self.agreement.stop(error) == "go"
            if building:
                first = announce_failure(self.scope(), error) or first
        return first

    def _undo(self) -> None:
        """Destroy what was built, without waiting for other ranks."""
        if self.context is None:
            self.groups.close(abort=True)
        else:
            self.context.close(abort=True)
            self.context = None

    @property
    def _waited_for(self) -> bool:
        """Return whether ranks that do not build with this one wait for it to start the world."""
        others = len(self.attempt.ranks) < self.process.world_size or not self.attempt.ranks_read
        return self.process.owns_world and self.groups.default_group is None and others
