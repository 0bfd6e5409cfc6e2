"""One network test on one rank: measure the partitions, confirm who is suspect, say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import torch.distributed as dist

import pgregistry
from pgregistry import BuildError, ConfigError, Mode, ParallelContext, PlanMismatch
from pgregistry.coordination.store import ScopedStore
from pgregistry.errors import PgregistryError, format_ranks
from pgregistry_nettest.combine import combine, failed_everywhere
from pgregistry_nettest.measure import Sample, collective, device_of, exchange, sample
from pgregistry_nettest.meeting import Conclude, Meeting
from pgregistry_nettest.partitions import Group, partitions
from pgregistry_nettest.report import Host, Measurement, Report
from pgregistry_nettest.settings import Settings, check_baseline, difference, hosts_of, no_settings_of_the_run, where
from pgregistry_nettest.suspects import Pair, schedule, suspects
from pgregistry_nettest.verdict import judge

#: Told what is measured now, how much is done, and of how much.
Progress: TypeAlias = Callable[[str, int, int], None]

#: How long ranks may take to come to the test, in seconds; as long as they may take to call `init`.
COME: Final = 300.0
#: How long they may take to build when they have come, in seconds.
BUILD: Final = 60.0
_ERRORS: Final = {kind.__name__: kind for kind in (ConfigError, PlanMismatch, BuildError)}


class _BrokenError(Exception):
    """Leave process groups without waiting: a rank is gone, or one of them is broken."""


class Session:
    """One network test on one rank.

    Args:
        context: What `init` returned.
        settings: The same on all ranks.
        prepare: What the first rank does before anything is measured; returns the baseline. Its
            `ConfigError` is raised on all ranks.
        progress: Told how far this rank is.
    """

    def __init__(
        self,
        context: ParallelContext,
        settings: Settings,
        prepare: Callable[[], Report | None],
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        world = dist.group.WORLD
        if world is None:
            raise BuildError("The context is closed; its process groups are destroyed.")
        everyone = range(context.plan.world_size)
        self._ranks = list(everyone) if context.plan.ranks is None else sorted(context.plan.ranks)
        if context.rank not in self._ranks:
            raise ConfigError(f"Rank {context.rank} is not in the context, which lives on {format_ranks(self._ranks)}.")
        self._begun = time.monotonic()
        self._context = context
        self._settings = settings
        self._prepare = prepare
        self._progress = progress
        self._world = world
        self._device = device_of(world).type
        board = ScopedStore.open(
            world.get_group_store(), context.rank, self._ranks, everybody=len(self._ranks) == len(everyone)
        )
        self.meeting = Meeting(board)
        self._hosts: tuple[Host, ...] = ()
        self._baseline: Report | None = None
        self._measured: list[Measurement] = []
        self._broken = False

    def run(self) -> Report:
        """All of it; what it raises, `pgregistry_nettest.run` says."""
        self._hosts = self._meet()
        parts = partitions(len(self._hosts), self._settings.slow)
        lists = [parts.ranks(number, [host.ranks for host in self._hosts]) for number in range(len(parts.groups))]
        report = None
        with suppress(_BrokenError), self._init(lists) as made:
            for number, groups in enumerate(lists):
                self._partition(made, number, groups)
            report = self._pairs(parts.groups)
            if self._broken or self.meeting.absent:
                raise _BrokenError
        if report is None:
            raise BuildError("The network test did not come to an end.")
        return report

    @property
    def _cases(self) -> list[tuple[str, int]]:
        return self._settings.cases(self._device)

    def _meet(self) -> tuple[Host, ...]:
        """Who the hosts are; an error on all ranks where they differ, or the first one cannot go on."""
        error = None
        try:
            self._settings.check()
        except ConfigError as problem:
            error = str(problem)
        part = {"where": where(), "settings": asdict(self._settings), "error": error}
        outcome = self.meeting.conclude("at the beginning", part, self._open, COME)
        if "error" in outcome:
            kind, text = outcome["error"]
            raise _ERRORS.get(kind, BuildError)(text)
        return tuple(Host(one["name"], tuple(one["ranks"])) for one in outcome["hosts"])

    def _open(self, said: Mapping[int, Any]) -> dict[str, Any]:
        """On the first rank: whether there can be a test, and of which hosts."""
        try:
            if absent := set(self.meeting.present) - said.keys():
                raise PlanMismatch(
                    f"{format_ranks(absent).capitalize()} did not come to the network test in {COME:g} s."
                )
            if differs := difference({rank: one["settings"] for rank, one in said.items()}):
                raise PlanMismatch(differs)
            for one in said.values():
                if one["error"]:
                    raise ConfigError(one["error"])
            hosts = hosts_of({rank: one["where"] for rank, one in said.items()}, self._settings.ranks_per_host)
            partitions(len(hosts), self._settings.slow)
            self._baseline = self._prepare()
            if self._baseline is not None:
                check_baseline(self._baseline, self._cases, self._context.defaults.backend, self._device)
        except PgregistryError as problem:
            return {"error": [type(problem).__name__, str(problem)]}
        return {"hosts": [asdict(host) for host in hosts]}

    def _init(self, lists: Sequence[Sequence[Sequence[int]]]) -> ParallelContext:
        """The process groups of all partitions, each a planned, agreed, dedicated mode."""
        place = {rank: position for position, rank in enumerate(self._ranks)}
        modes = []
        for number, groups in enumerate(lists):
            positions = [[place[rank] for rank in group] for group in groups]
            timeout = self._settings.timeout
            modes.append(Mode(_name(number), groups=_listed(positions), dedicated=True, timeout=timeout))
        with no_settings_of_the_run():
            return pgregistry.init(
                only=(),
                extra=modes,
                within=None if self._context.plan.ranks is None else self._ranks,
                backend=self._context.defaults.backend,
                agree_timeout=BUILD,
                build_timeout=BUILD,
            )

    def _partition(self, made: ParallelContext, number: int, groups: Sequence[Sequence[int]]) -> None:
        """Measure one partition, and hear what all others measured."""
        handle, samples, cases = made.get(_name(number)), list[Sample](), self._cases
        begun, took = time.monotonic(), 0.0
        if handle is not None and self.meeting.absent.keys().isdisjoint(handle.ranks):
            for done, (op, size) in enumerate(cases):
                self._progress(f"partition {number}: {op}", done, len(cases))
                call = collective(op, size, handle.group, handle.ranks, self._settings.timeout)
                samples.append(sample(op, size, call, self._settings.iterations, self._settings.warmup))
                if samples[-1].error:
                    with suppress(RuntimeError):  # the others of the group need not wait for their timeout
                        handle.group.abort()
                    self._broken = True
                    break
                took = time.monotonic() - begun
        self._progress(f"partition {number}: done", len(cases), len(cases))

        def conclude(said: Mapping[int, Any]) -> dict[str, Any]:
            measured = combine(said, groups, number)
            error = failed_everywhere(measured, self._context.defaults.backend)
            if len(said) < len(self.meeting.present):
                error = None  # they fail because somebody is gone
            return {"error": error, "measured": [asdict(one) for one in measured]}

        outcome = self._conclude(f"in partition {number}", [asdict(one) for one in samples], conclude, took)
        if outcome["error"]:
            raise BuildError(outcome["error"])
        self._measured += [Measurement(**{**one, "ranks": tuple(one["ranks"])}) for one in outcome["measured"]]

    def _pairs(self, parts: tuple[tuple[Group, ...], ...]) -> Report:
        """Test the pairs that show whether suspects are slow, and judge."""
        found = suspects(self._measured, self._hosts, self._settings.slow)
        gone = self.meeting.absent.keys()
        absent = frozenset(place for place, host in enumerate(self._hosts) if not gone.isdisjoint(host.ranks))
        steps = [list(self._ranks_of(step)) for step in schedule(found, self._hosts, absent)]
        samples, begun, took = list[list[dict[str, Any]]](), time.monotonic(), 0.0
        for done, step in enumerate(steps):
            self._progress("pairs: send_recv", done, len(steps))
            samples.append([])
            for partner in (sum(pair) - self._context.rank for pair in step if self._context.rank in pair):
                for size in found.sizes:
                    call = exchange(size, partner, self._world, self._settings.timeout)
                    one = sample("send_recv", size, call, self._settings.iterations, self._settings.warmup)
                    samples[-1].append(asdict(one))
                    if one.error:
                        self._broken = True
                        break
                    took = time.monotonic() - begun
        self._progress("done", 1, 1)

        def conclude(said: Mapping[int, Any]) -> str:
            pairs = [
                one
                for number, step in enumerate(steps)
                for one in combine({rank: each[number] for rank, each in said.items()}, step, len(parts))
            ]
            missing = {**gone_since(self.meeting, said), **self.meeting.absent}
            return self._report(pairs, parts, missing).to_json()

        return Report.from_json(self._conclude("at the end", samples, conclude, took))

    def _ranks_of(self, step: Sequence[Pair]) -> Iterator[tuple[int, int]]:
        """Pairs of hosts as pairs of ranks: the first ranks of both, the second ones, and so on."""
        for one, other in step:
            yield from zip(self._hosts[one].ranks, self._hosts[other].ranks, strict=False)

    def _report(
        self, pairs: Sequence[Measurement], parts: tuple[tuple[Group, ...], ...], missing: Mapping[int, str]
    ) -> Report:
        measured, slow = (*self._measured, *pairs), self._settings.slow
        verdict = judge(measured, self._hosts, slow, rounds=len(parts), missing=missing, baseline=self._baseline)
        return Report(
            hosts=self._hosts,
            partitions=parts,
            measurements=measured,
            findings=verdict.findings,
            notes=verdict.notes,
            slow=slow,
            backend=self._context.defaults.backend,
            device=self._device,
            seconds=time.monotonic() - self._begun,
        )

    def _conclude(self, what: str, part: Any, conclude: Conclude, took: float) -> Any:
        """Hear the others, who may be some times slower than this rank, and then wait for a collective that fails."""
        return self.meeting.conclude(what, part, conclude, self._settings.timeout + 4 * took + 1)


def gone_since(meeting: Meeting, said: Mapping[int, Any]) -> dict[int, str]:
    """Ranks that were there for the conclusion before, and are not for this one."""
    return {rank: "at the end" for rank in meeting.present if rank not in said}


def _name(number: int) -> str:
    return f"nettest {number}"


def _listed(groups: list[list[int]]) -> Callable[[object], list[list[int]]]:
    return lambda mesh: groups
