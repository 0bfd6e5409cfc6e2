"""The builder that makes the process groups of one rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch.distributed as dist

from pgregistry.building.communicators.backend import default_group_backend
from pgregistry.building.process_groups import ProcessGroups, end_wait
from pgregistry.building.specs import Defaults, GroupSpec, default_group_spec, specs_of_rank
from pgregistry.building.watchdog import LOOK, Watchdog
from pgregistry.coordination.abandonable import check_given_up, run_abandonable
from pgregistry.coordination.store.scoped_store import ScopedStore
from pgregistry.errors import BuildError, describe
from pgregistry.planning.plans.plan import Plan


class GroupBuilder:
    """The common part of the two ways of building: the plan, the scope of the ranks, the groups so far, the watchdog.

    Args:
        seconds: The time that all of it may take.

    Attributes:
        plan: The agreed plan.
        scope: The store of the ranks that build; its name is new for every `init`.
        defaults: The run's settings for modes that have none.
        groups: Filled as process groups are made, so that a failure can destroy them.
        default_spec: The spec of the default process group, which is there and serves every mode that it fits.
        number: Tells apart the process groups of one plan that live at once.
        watchdog: Ends the wait for a rank that failed or is missing.
        waits: The process group whose members wait for one another in torch, and the store in which they do.
    """

    def __init__(
        self,
        plan: Plan,
        scope: ScopedStore,
        defaults: Defaults,
        groups: ProcessGroups,
        seconds: float,
        number: int = 0,
    ) -> None:
        self.plan = plan
        self.scope = scope
        self.defaults = defaults.beside(default_group_backend())
        self.groups = groups
        self.number = number
        self.default_spec = default_group_spec(plan, replace(defaults, backend=default_group_backend()))
        self._specs = specs_of_rank(plan, scope.rank, self.defaults)
        wanted = dict.fromkeys(spec for specs in self._specs.values() for spec in specs)
        groups.created.update((spec, None) for spec in wanted if spec != self.default_spec)
        self.watchdog = Watchdog(scope, groups.created, seconds)
        self.waits: tuple[str, GroupSpec, Any] | None = None
        self._begun = time.monotonic()
        self._seconds: dict[GroupSpec, float] = {}

    def add(self, spec: GroupSpec, group: dist.ProcessGroup) -> None:
        """Keep a process group that was made."""
        self.groups.keep(group, spec)
        self._seconds[spec] = time.monotonic() - self._begun

    def run(self, job: Callable[[], None], *, awaited: bool = False) -> None:
        """Run a job that makes process groups one after another, in a thread that the watchdog ends.

        Args:
            job: The job.
            awaited: Whether the next `init` must not begin before the job has ended.
        """
        run_abandonable(job, self.watchdog.look_around, LOOK, awaited=awaited, end_wait=self._end_wait)

    def _end_wait(self) -> None:
        """End the wait of this rank in torch for those that will not come."""
        if self.waits:
            name, spec, store = self.waits
            end_wait(store, name, spec.ranks, self.scope.rank)

    @contextmanager
    def naming(self, spec: GroupSpec) -> Iterator[None]:
        """Raise what torch raises inside as a BuildError that names the rank and the group.

        A thread that was given up does not come inside.
        """
        check_given_up()
        try:
            yield
        except Exception as error:
            raise BuildError(
                f"Rank {self.scope.rank} could not make {spec}: {describe(error)}",
                ranks=[self.scope.rank],
            ) from error

    def assign(self) -> None:
        """Give each mode its process groups, when all are made."""
        for mode, specs in self._specs.items():
            for kind, spec in zip((self.groups.groups, self.groups.companions), specs, strict=False):
                made: Any = dist.group.WORLD if spec == self.default_spec else self.groups.created[spec]
                kind[mode] = made
            self.groups.seconds[mode] = max(self._seconds.get(spec, 0.0) for spec in specs)
