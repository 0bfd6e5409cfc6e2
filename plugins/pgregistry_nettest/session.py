"""One network test on one rank: measure the partitions, confirm the suspects in pairs, and judge."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import torch.distributed as dist

from pgregistry import BuildError, ConfigError, Mode, ParallelContext, PgregistryError, PlanMismatch, init
from pgregistry_nettest.analysis.measurements import Measurement, Sample, combine, failed_everywhere
from pgregistry_nettest.analysis.report import Host, Report, hosts_of
from pgregistry_nettest.analysis.rounds import Partition, pair_steps, partitions, rank_groups
from pgregistry_nettest.analysis.suspects import find_suspects
from pgregistry_nettest.analysis.verdict import judge
from pgregistry_nettest.analysis.wording import format_ranks
from pgregistry_nettest.decisions import Decide, Decisions
from pgregistry_nettest.options import Options, check_baseline, disagreement, find_hosts, host_name
from pgregistry_nettest.timing import device_of, time_collective, time_exchange

#: Called with what is measured now, how much of it is done, and how much there is.
Progress: TypeAlias = Callable[[str, int, int], None]

#: How long ranks may take to come to the test, in seconds: as long as `init` gives them.
ARRIVE: Final = 300.0
#: How long the ranks that came may take to build, in seconds.
BUILD: Final = 60.0
_ERRORS: Final = {kind.__name__: kind for kind in (BuildError, ConfigError, PlanMismatch)}

log = logging.getLogger("pgregistry.nettest")


class _BrokenError(Exception):
    """Leave process groups without waiting: a rank is missing, or one of them is broken."""


class Session:
    """One network test on one rank.

    Args:
        context: What `init` returned.
        options: The same on all ranks.
        prepare: Called on the first rank before anything is measured. It returns the baseline. If it
            raises ConfigError, all ranks do.
        progress: Called as the test goes on.
    """

    def __init__(
        self,
        context: ParallelContext,
        options: Options,
        prepare: Callable[[], Report | None],
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        world = dist.group.WORLD
        if world is None:
            raise BuildError("The context is closed; its process groups are destroyed.")
        self._ranks = sorted(context.plan.ranks or range(context.plan.world_size))
        if context.rank not in self._ranks:
            raise ConfigError(f"Rank {context.rank} is not in the context, which has {format_ranks(self._ranks)}.")
        self._begun = time.monotonic()
        self._context, self._options, self._prepare, self._progress = context, options, prepare, progress
        self._world, self._device = world, device_of(world).type
        self.decisions = Decisions(world.get_group_store(), context.rank, self._ranks)
        self._hosts: tuple[Host, ...] = ()
        self._baseline: Report | None = None
        self._measured: list[Measurement] = []
        self._broken = False

    def run(self) -> Report:
        """Run the test and return its report. It raises what `pgregistry_nettest.run` does."""
        try:
            self._hosts = self._agree()
            parts = partitions(len(self._hosts), self._options.slow)
            rounds = [rank_groups(part, self._hosts) for part in parts]
            with suppress(_BrokenError), self._build(rounds) as built:
                for number, groups in enumerate(rounds):
                    self._partition(built, number, groups)
                report = self._pairs(parts)
                if self._broken or self.decisions.missing:
                    raise _BrokenError
            return report
        finally:
            self.decisions.forget()

    def _agree(self) -> tuple[Host, ...]:
        """Return the hosts; raise one error on all ranks if they disagree or the first rank cannot go on."""
        error = None
        try:
            self._options.check()
        except ConfigError as problem:
            error = str(problem)
        proposal = {"host": host_name(), "options": asdict(self._options), "error": error}
        decided = self.decisions.decide("at the beginning", proposal, self._open, ARRIVE)
        if "error" in decided:
            kind, text, ranks = decided["error"]
            raise _ERRORS.get(kind, BuildError)(text, ranks=ranks)
        return tuple(Host(one["name"], tuple(one["ranks"])) for one in decided["hosts"])

    def _open(self, proposals: Mapping[int, Any]) -> dict[str, Any]:
        """Decide on the first rank if there can be a test, and of which hosts."""
        try:
            if missing := sorted(set(self._ranks) - proposals.keys()):
                raise PlanMismatch(
                    f"{format_ranks(missing).capitalize()} did not come to the network test in {ARRIVE:g} s.",
                    ranks=missing,
                )
            if differs := disagreement({rank: one["options"] for rank, one in proposals.items()}):
                raise PlanMismatch(differs)
            for one in proposals.values():
                if one["error"]:
                    raise ConfigError(one["error"])
            names = {rank: one["host"] for rank, one in proposals.items()}
            hosts = find_hosts(names, self._options.ranks_per_host)
            partitions(len(hosts), self._options.slow)
            self._baseline = self._prepare()
            if self._baseline is not None:
                cases = self._options.cases(self._device)
                check_baseline(self._baseline, cases, self._context.defaults.backend, self._device)
        except PgregistryError as problem:
            return {"error": [type(problem).__name__, str(problem), problem.ranks]}
        return {"hosts": [asdict(host) for host in hosts]}

    def _build(self, rounds: Sequence[Sequence[Sequence[int]]]) -> ParallelContext:
        """Build the process groups of all partitions; each partition is a dedicated mode."""
        positions = {rank: position for position, rank in enumerate(self._ranks)}
        listed = [[[positions[rank] for rank in group] for group in groups] for groups in rounds]
        modes = [
            Mode(_name(number), groups=_always(groups), dedicated=True, timeout=self._options.timeout)
            for number, groups in enumerate(listed)
        ]
        with without_settings():
            return init(
                only=(),
                extra=modes,
                within=None if self._context.plan.ranks is None else self._ranks,
                backend=self._context.defaults.backend,
                agree_timeout=BUILD,
                build_timeout=BUILD,
            )

    def _partition(self, built: ParallelContext, number: int, groups: Sequence[Sequence[int]]) -> None:
        """Measure one partition, and receive what all other ranks measured."""
        handle, samples, cases = built.get(_name(number)), list[Sample](), self._options.cases(self._device)
        begun, took = time.monotonic(), 0.0
        if handle is not None and self.decisions.missing.keys().isdisjoint(handle.ranks):
            for done, (op, size) in enumerate(cases):
                self._progress(f"partition {number}: {op}", done, len(cases))
                samples.append(time_collective(op, size, handle.group, handle.ranks, self._options))
                if samples[-1].error:
                    try:
                        handle.group.abort()  # or the other ranks of the group would wait for their timeout
                    except RuntimeError as error:
                        log.debug("%s could not be aborted: %s", _name(number), error)
                    self._broken = True
                    break
                took = time.monotonic() - begun
        self._progress(f"partition {number}: done", len(cases), len(cases))

        def decide(proposals: Mapping[int, Any]) -> dict[str, Any]:
            measured = combine({rank: _samples(rows) for rank, rows in proposals.items()}, groups, number)
            error = failed_everywhere(measured, self._context.defaults.backend)
            if len(proposals) < len(self.decisions.present):
                error = None  # they failed because a rank is missing
            return {"error": error, "measured": [asdict(one) for one in measured]}

        decided = self._decide(f"in partition {number}", [asdict(one) for one in samples], decide, took)
        if decided["error"]:
            raise BuildError(decided["error"])
        self._measured += [Measurement(**{**one, "ranks": tuple(one["ranks"])}) for one in decided["measured"]]

    def _pairs(self, parts: tuple[Partition, ...]) -> Report:
        """Test the pairs that show if suspects are slow, and return the report."""
        found = find_suspects(self._measured, self._hosts, self._options.slow)
        steps = [
            [ranks for a, b in step for ranks in zip(self._hosts[a].ranks, self._hosts[b].ranks, strict=False)]
            for step in pair_steps(found, self._hosts, hosts_of(self.decisions.missing, self._hosts))
        ]
        samples, begun, took = list[list[dict[str, Any]]](), time.monotonic(), 0.0
        for done, step in enumerate(steps):
            self._progress("pairs: send_recv", done, len(steps))
            samples.append([])
            for partner in (sum(pair) - self._context.rank for pair in step if self._context.rank in pair):
                for size in found.sizes:
                    sample = time_exchange(size, partner, self._world, self._options)
                    samples[-1].append(asdict(sample))
                    if sample.error:
                        self._broken = True
                        break
                    took = time.monotonic() - begun
        self._progress("done", 1, 1)

        def decide(proposals: Mapping[int, Any]) -> str:
            pairs = [
                one
                for number, step in enumerate(steps)
                for one in combine({rank: _samples(rows[number]) for rank, rows in proposals.items()}, step, len(parts))
            ]
            late = {rank: "at the end" for rank in self.decisions.present if rank not in proposals}
            return self._report(pairs, parts, {**late, **self.decisions.missing}).to_json()

        return Report.from_json(self._decide("at the end", samples, decide, took))

    def _report(self, pairs: Sequence[Measurement], parts: tuple[Partition, ...], missing: Mapping[int, str]) -> Report:
        measured, slow = (*self._measured, *pairs), self._options.slow
        verdict = judge(measured, self._hosts, slow, rounds=len(parts), missing=missing, baseline=self._baseline)
        found, backend = (verdict.findings, verdict.notes), self._context.defaults.backend
        seconds = time.monotonic() - self._begun
        return Report(self._hosts, parts, measured, *found, slow, backend, self._device, seconds)

    def _decide(self, what: str, proposal: Any, decide: Decide, took: float) -> Any:
        # The others may be several times slower than this rank, and then wait for a collective that fails.
        return self.decisions.decide(what, proposal, decide, self._options.timeout + 4 * took + 1)


def _name(number: int) -> str:
    return f"nettest {number}"


def _always(groups: list[list[int]]) -> Callable[[object], list[list[int]]]:
    return lambda mesh: groups


def _samples(rows: Sequence[Mapping[str, Any]]) -> list[Sample]:
    return [Sample(**row) for row in rows]


@contextmanager
def without_settings() -> Iterator[None]:
    """Hide the settings of the training run, which name sizes and plugins that a test does not have.

    `init` reads the environment, and no keyword stops it: a size in PGREGISTRY that no mode has is an
    error. So the variables are taken away while it starts. If there are none, the environment is not
    touched. PGREGISTRY_BUILD stays: a test builds its process groups as the run does.
    """
    names = [name for name in os.environ if name.startswith("PGREGISTRY") and name != "PGREGISTRY_BUILD"]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)
