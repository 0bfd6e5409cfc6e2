"""The verdict: what is slow, with the evidence. It is a pure function of the measurements."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from pgregistry_nettest.analysis.measurements import Measurement, bus_factor
from pgregistry_nettest.analysis.report import Finding, Host, Kind, Report, hosts_of
from pgregistry_nettest.analysis.rounds import PARTNERS
from pgregistry_nettest.analysis.suspects import Suspects, find_suspects
from pgregistry_nettest.analysis.usual import SURE, SUSPECT, Compared, compare, usual_times
from pgregistry_nettest.analysis.wording import format_ranks, format_seconds, format_size

#: The most sentences of evidence for one finding.
SENTENCES: Final = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings, and notes for the reader."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def judge(
    measured: Sequence[Measurement],
    hosts: Sequence[Host],
    slow: int,
    *,
    rounds: int,
    missing: Mapping[int, str] | None = None,
    baseline: Report | None = None,
) -> Verdict:
    """Return the verdict on the measurements.

    Args:
        measured: The measurements of the groups, then those of the pairs.
        hosts: All hosts. Elsewhere a host is its place in this list.
        slow: How many slow hosts the partitions can tell apart.
        rounds: How many partitions there are. Later rounds are tests of pairs.
        missing: The ranks that stopped answering, and when.
        baseline: An earlier report, which shows whether the whole network is slow.
    """
    missing = missing or {}
    groups = [one for one in measured if one.round < rounds]
    pairs = compare([one for one in measured if one.round >= rounds], hosts, slow, SUSPECT)
    threshold = SUSPECT if pairs else SURE  # without pairs that confirm it, a finding must be sure
    found = find_suspects(groups, hosts, slow, threshold)
    guilty = _guilty(pairs, found, hosts)
    evidence = _Evidence(hosts, rounds, [*compare(groups, hosts, slow, threshold), *pairs])
    findings = [*_missing(missing, hosts), *_slow_ranks(evidence, guilty), *_slow_links(evidence, found, guilty)]
    findings += _failed(evidence, findings)
    notes = []
    if cleared := sorted(found.ranks.keys() - guilty - missing.keys()):
        notes.append(f"Slow in groups, but not in pairs with good hosts, so not named: {format_ranks(cleared)}.")
    if (seem := len(hosts_of(guilty, hosts))) > slow:
        notes.append(f"Only slow = {slow} can be told apart for sure, but {seem} seem to be slow; try --slow {seem}.")
    if baseline is None:
        notes.append("Hosts were compared with one another; a --baseline shows whether all of them are slow.")
    else:
        findings += _slow_fabric(groups, hosts, slow, baseline)
    return Verdict(tuple(findings), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Evidence:
    """All measurements, each with what is usual."""

    hosts: Sequence[Host]
    rounds: int
    compared: Sequence[Compared]

    def finding(self, kind: Kind, numbers: tuple[int, ...], ranks: tuple[int, ...], bad: Sequence[Compared]) -> Finding:
        """Return a finding with the worst observation of each group."""
        worst: dict[tuple[int, tuple[int, ...]], Compared] = {}
        for each in sorted(bad, key=lambda each: each.factor):
            worst[each.one.round, each.one.ranks] = each
        factors = [each.factor for each in worst.values() if not self.is_pair(each)] or [each.factor for each in bad]
        factor = median(factors) if factors else math.inf
        sentences = [self._sentence(worst[key]) for key in sorted(worst)]
        return Finding(
            kind, numbers, ranks, round(factor, 2) if factor < math.inf else None, tuple(sentences[:SENTENCES])
        )

    def is_pair(self, each: Compared) -> bool:
        return each.one.round >= self.rounds

    def _sentence(self, each: Compared) -> str:
        one, numbers = each.one, list(map(str, hosts_of(each.one.ranks, self.hosts)))
        group = f"between hosts {' and '.join(numbers)}" if len(one.ranks) == 2 else f"among hosts {' '.join(numbers)}"
        took = f"failed ({one.error})" if one.seconds is None else f"took {format_seconds(one.seconds)}"
        usually = format_seconds(each.usual.seconds if one.seconds is None else one.seconds / each.factor)
        kind = "pair" if self.is_pair(each) else f"partition {one.round}"
        return f"{kind}: {one.op} of {format_size(one.size)} {group} {took}, usually {usually}"


def _guilty(pairs: Sequence[Compared], found: Suspects, hosts: Sequence[Host]) -> set[int]:
    """Return the ranks that are slow with each of their partners; all suspects if no pair was tested.

    Noise makes one pair slow, but rarely all pairs of a rank. A rank that only a slow group points to
    needs at least three partners, because its link may be slow instead.
    """
    doubtful = {rank: size for group, size in found.groups.items() for host in group for rank in hosts[host].ranks}
    guilty = set()
    for rank, size in {**doubtful, **found.ranks}.items():
        partners: dict[int, list[bool]] = {}
        for each in pairs:
            if rank in each.one.ranks and each.one.size == size:
                (partner,) = set(each.one.ranks) - {rank}
                if partner not in found.ranks:
                    partners.setdefault(partner, []).append(each.slow)
        enough = 0 if rank in found.ranks else PARTNERS
        if len(partners) >= enough and all(map(all, partners.values())):
            guilty.add(rank)
    return guilty


def _missing(missing: Mapping[int, str], hosts: Sequence[Host]) -> Iterator[Finding]:
    for number in hosts_of(missing, hosts):
        ranks = tuple(rank for rank in hosts[number].ranks if rank in missing)
        evidence = [f"{format_ranks([rank])} did not answer {missing[rank]}" for rank in ranks]
        yield Finding("missing ranks", (number,), ranks, None, tuple(evidence[:SENTENCES]))


def _slow_ranks(evidence: _Evidence, guilty: set[int]) -> Iterator[Finding]:
    for number in hosts_of(guilty, evidence.hosts):
        host = evidence.hosts[number]
        ranks = tuple(rank for rank in host.ranks if rank in guilty)
        bad = [each for each in evidence.compared if each.slow and not set(ranks).isdisjoint(each.one.ranks)]
        yield evidence.finding("slow host" if ranks == host.ranks else "slow ranks", (number,), ranks, bad)


def _slow_links(evidence: _Evidence, found: Suspects, guilty: set[int]) -> Iterator[Finding]:
    """Yield the pairs of a slow group that are slow in each test, between ranks that are fast in most other pairs."""
    hosts = evidence.hosts
    pairs = [each for each in evidence.compared if evidence.is_pair(each) and guilty.isdisjoint(each.one.ranks)]
    apart = [each for each in pairs if not found.together(hosts_of(each.one.ranks, hosts))]
    met = Counter(rank for each in apart for rank in each.one.ranks)
    slowly = Counter(rank for each in apart if each.slow for rank in each.one.ranks)
    doubtful = {rank for rank in slowly if slowly[rank] > met[rank] / 2}
    for pair in sorted({hosts_of(each.one.ranks, hosts) for each in pairs}):
        sizes = {found.groups[group] for group in found.together(pair)}
        tests: dict[tuple[int, ...], list[bool]] = {}
        for each in pairs:
            here = hosts_of(each.one.ranks, hosts) == pair and each.one.size in sizes
            if here and doubtful.isdisjoint(each.one.ranks):
                tests.setdefault(each.one.ranks, []).append(each.slow)
        if ranks := {rank for ranks, slow in tests.items() if all(slow) for rank in ranks}:
            bad = [each for each in evidence.compared if each.slow and {*pair} <= {*hosts_of(each.one.ranks, hosts)}]
            yield evidence.finding("slow link", pair, tuple(sorted(ranks)), bad)


def _failed(evidence: _Evidence, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the groups that failed and in which nothing else was found: they are not healthy."""
    named = {rank for finding in findings for rank in finding.ranks}
    failed: dict[tuple[int, ...], list[Compared]] = {}
    for each in evidence.compared:
        if each.one.seconds is None and named.isdisjoint(each.one.ranks):
            failed.setdefault(each.one.ranks, []).append(each)
    for ranks, bad in sorted(failed.items()):
        yield evidence.finding("slow link", hosts_of(ranks, evidence.hosts), ranks, bad)


def _slow_fabric(
    groups: Sequence[Measurement], hosts: Sequence[Host], slow: int, baseline: Report
) -> Iterator[Finding]:
    """Yield a finding if the usual time of now is slow by what was usual in the baseline."""
    earlier = usual_times(baseline.of_groups, baseline.hosts, baseline.slow)
    worst, evidence = 0.0, []
    for (op, size), now in usual_times(groups, hosts, slow).items():
        if (then := earlier.get((op, size))) is None:
            continue
        seconds = now.seconds / (bus_factor(op, now.members) / bus_factor(op, then.members))
        if seconds > then.limit:
            worst = max(worst, seconds / then.seconds)
            took, took_then = format_seconds(now.seconds), format_seconds(now.seconds * then.seconds / seconds)
            evidence.append(
                f"{op} of {format_size(size)} usually takes {took} now, and took {took_then} in the baseline"
            )
    if evidence:
        ranks = tuple(sorted(rank for host in hosts for rank in host.ranks))
        yield Finding("slow fabric", tuple(range(len(hosts))), ranks, round(worst, 2), tuple(evidence[:SENTENCES]))
