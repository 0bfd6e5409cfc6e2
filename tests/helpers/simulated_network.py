"""A network whose hosts and links may be slow, simulated: the times of collectives without any process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from pgregistry_nettest.analysis.measurements import Measurement
from pgregistry_nettest.analysis.report import Host, Report
from pgregistry_nettest.analysis.rounds import pair_steps, partitions, rank_groups
from pgregistry_nettest.analysis.suspects import find_suspects
from pgregistry_nettest.analysis.verdict import Verdict, judge

MIB = 1 << 20


class Network:
    """A network whose hosts and links may be slow: what a collective in it takes, by arithmetic of its own.

    A ring passes 2 (n - 1) times one n-th of the bytes over the slowest link between any two
    members; noise only ever makes it slower.
    """

    def __init__(
        self,
        hosts: int,
        slow: Mapping[int, float] = {},
        links: Mapping[frozenset[int], float] = {},
        per_host: int = 1,
        noise: float = 0.1,
        seed: int = 0,
        speed: float = 1e9,
    ) -> None:
        self.hosts = [Host(f"h{i}", tuple(range(i * per_host, (i + 1) * per_host))) for i in range(hosts)]
        self.slow, self.links, self.noise, self.speed = slow, links, noise, speed
        self.random = random.Random(seed)

    def time(self, members: Sequence[int], size: int, steps: float) -> float:
        """Return the seconds that so many passes of one n-th of the bytes take among these hosts."""
        worst = max(
            max(self.slow.get(a, 1.0), self.slow.get(b, 1.0), self.links.get(frozenset((a, b)), 1.0))
            for a, b in combinations(members, 2)
        )
        noise = 1 + abs(self.random.gauss(0, self.noise))
        return worst * noise * steps * size / len(members) / self.speed

    def measure(self, op: str, size: int, ranks: Sequence[int], number: int) -> Measurement:
        members = [i for i, host in enumerate(self.hosts) if set(host.ranks) & set(ranks)]
        n = len(members)
        steps = 2 * (n - 1) if op == "all_reduce" else n
        return Measurement(number, op, size, size // 4, tuple(ranks), self.time(members, size, steps))

    def groups(self, slow: int, sizes: Sequence[int] = (MIB,)) -> list[Measurement]:
        parts = partitions(len(self.hosts), slow)
        lists = [rank_groups(part, self.hosts) for part in parts]
        return [
            self.measure("all_reduce", size, ranks, number)
            for number, groups in enumerate(lists)
            for ranks in groups
            for size in sizes
        ]

    def test(self, slow: int, sizes: Sequence[int] = (MIB,), **others: Any) -> Verdict:
        """Test the network: partitions, then pairs, then the verdict."""
        report = self.report(slow, sizes, **others)
        return Verdict(report.findings, report.notes)

    def pairs(self, groups: Sequence[Measurement], slow: int) -> Iterator[Measurement]:
        """Measure the pairs of the suspects in these groups."""
        found = find_suspects(groups, self.hosts, slow)
        for step in pair_steps(found, self.hosts):
            assert len({host for pair in step for host in pair}) == 2 * len(step), "each host is in one pair at a time"
            for a, b in step:
                for ranks in zip(self.hosts[a].ranks, self.hosts[b].ranks, strict=True):
                    for size in found.sizes:
                        yield self.measure("send_recv", size, ranks, len(partitions(len(self.hosts), slow)))

    def report(self, slow: int, sizes: Sequence[int] = (MIB,), **others: Any) -> Report:
        parts, groups = partitions(len(self.hosts), slow), self.groups(slow, sizes)
        measured = (*groups, *self.pairs(groups, slow))
        verdict = judge(measured, self.hosts, slow, rounds=len(parts), **others)
        found = (verdict.findings, verdict.notes)
        return Report(tuple(self.hosts), parts, measured, *found, slow, "gloo", "cpu", 1.0)
