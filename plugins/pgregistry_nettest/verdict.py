"""The verdict: what is slow, with the evidence. A pure function of the measurements."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from pgregistry.errors import format_ranks
from pgregistry_nettest.collectives import bus_factor, shown
from pgregistry_nettest.report import Finding, Host, Kind, Measurement, Report
from pgregistry_nettest.suspects import PARTNERS, Suspects, suspects
from pgregistry_nettest.usual import SURE, SUSPECT, Compared, compare, members, of_groups

#: Sentences of evidence for one finding.
SENTENCES: Final = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, and what else a reader should know."""

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
    """What the measurements say.

    Args:
        measured: The groups, then the pairs.
        hosts: All hosts; their numbers are places in this list.
        slow: How many slow hosts the partitions can tell apart.
        rounds: How many partitions there are; what comes later is a test of pairs.
        missing: Ranks that stopped answering, and when.
        baseline: What is compared to tell whether all of the network is slow.
    """
    missing = missing or {}
    groups = [one for one in measured if one.round < rounds]
    pairs = compare([one for one in measured if one.round >= rounds], hosts, slow, SUSPECT)
    threshold = SUSPECT if pairs else SURE  # what no pair confirms must be sure
    found = suspects(groups, hosts, slow, threshold)
    guilty = _guilty(pairs, found, hosts)
    compared = [*compare(groups, hosts, slow, threshold), *pairs]
    findings = [*_missing(missing, hosts), *_slow_ranks(guilty, compared, hosts, rounds)]
    findings += _links(compared, found, guilty, hosts, rounds)
    findings += _failed(compared, findings, hosts, rounds)
    notes = []
    if cleared := sorted(found.ranks.keys() - guilty - missing.keys()):
        notes.append(f"Slow in groups, but not in pairs with good hosts, so not named: {format_ranks(cleared)}.")
    if (count := len(_hosts_of(guilty, hosts))) > slow:
        notes.append(f"Only slow = {slow} can be told apart surely, and {count} seem to be; try --slow {count}.")
    if baseline is None:
        notes.append("Hosts were compared with one another; a --baseline shows whether all of them are slow.")
    else:
        findings += _fabric(groups, hosts, slow, baseline)
    return Verdict(tuple(findings), tuple(notes))


def _guilty(pairs: Sequence[Compared], found: Suspects, hosts: Sequence[Host]) -> set[int]:
    """The ranks that are slow with their partners; all suspects where no pair was tested.

    Noise makes one pair slow, and rarely all: so a suspect is slow with each of them. A rank that
    only a slow group points to needs at least three: it may also have a slow link, or bad luck.
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


def _slow_ranks(
    guilty: set[int], compared: Sequence[Compared], hosts: Sequence[Host], rounds: int
) -> Iterable[Finding]:
    for number in _hosts_of(guilty, hosts):
        ranks = tuple(rank for rank in hosts[number].ranks if rank in guilty)
        kind: Kind = "slow host" if ranks == hosts[number].ranks else "slow ranks"
        bad = [each for each in compared if each.slow and set(each.one.ranks) & set(ranks)]
        yield _finding(kind, (number,), ranks, bad, hosts, rounds)


def _links(
    compared: Sequence[Compared],
    found: Suspects,
    guilty: set[int],
    hosts: Sequence[Host],
    rounds: int,
) -> Iterable[Finding]:
    """Pairs in slow groups that are slow in each test, between ranks that are not slow in most other pairs."""
    of_pairs = [each for each in compared if each.one.round >= rounds and guilty.isdisjoint(each.one.ranks)]
    apart = [each for each in of_pairs if not found.together(members(each.one, hosts))]
    met = Counter(rank for each in apart for rank in each.one.ranks)
    slowly = Counter(rank for each in apart if each.slow for rank in each.one.ranks)
    doubtful = {rank for rank in slowly if slowly[rank] > met[rank] / 2}
    for pair in sorted({members(each.one, hosts) for each in of_pairs}):
        sizes = {found.groups[group] for group in found.together(pair)}
        tests: dict[tuple[int, ...], list[bool]] = {}
        for each in of_pairs:
            if members(each.one, hosts) == pair and each.one.size in sizes and doubtful.isdisjoint(each.one.ranks):
                tests.setdefault(each.one.ranks, []).append(each.slow)
        ranks = {rank for ranks, slow in tests.items() if all(slow) for rank in ranks}
        if ranks:
            bad = [each for each in compared if each.slow and set(pair) <= set(members(each.one, hosts))]
            yield _finding("slow link", pair, tuple(sorted(ranks)), bad, hosts, rounds)


def _failed(
    compared: Sequence[Compared], findings: Sequence[Finding], hosts: Sequence[Host], rounds: int
) -> Iterable[Finding]:
    """Groups that failed, and in which nothing was found: that is not healthy, whoever it was."""
    named = {rank for finding in findings for rank in finding.ranks}
    failed: dict[tuple[int, ...], list[Compared]] = {}
    for each in compared:
        if each.one.seconds is None and named.isdisjoint(each.one.ranks):
            failed.setdefault(each.one.ranks, []).append(each)
    for ranks, bad in sorted(failed.items()):
        yield _finding("slow link", members(bad[0].one, hosts), ranks, bad, hosts, rounds)


def _finding(
    kind: Kind,
    numbers: tuple[int, ...],
    ranks: tuple[int, ...],
    bad: list[Compared],
    hosts: Sequence[Host],
    rounds: int,
) -> Finding:
    """A finding with the worst observation of each group as evidence."""
    worst: dict[tuple[int, tuple[int, ...]], Compared] = {}
    for each in sorted(bad, key=lambda each: each.factor):
        worst[each.one.round, each.one.ranks] = each
    factors = [each.factor for each in worst.values() if each.one.round < rounds] or [each.factor for each in bad]
    factor = median(factors) if factors else math.inf
    sentences = [_sentence(worst[key], hosts, rounds) for key in sorted(worst)]
    return Finding(kind, numbers, ranks, round(factor, 2) if factor < math.inf else None, tuple(sentences[:SENTENCES]))


def _sentence(each: Compared, hosts: Sequence[Host], rounds: int) -> str:
    one = each.one
    where = " ".join(map(str, members(one, hosts)))
    group = f"between hosts {where.replace(' ', ' and ')}" if len(one.ranks) == 2 else f"among hosts {where}"
    took = f"failed ({one.error})" if one.seconds is None else f"took {duration(one.seconds)}"
    usually = each.usual.seconds if one.seconds is None else one.seconds / each.factor
    kind = "pair" if one.round >= rounds else f"partition {one.round}"
    return f"{kind}: {one.op} of {shown(one.size)} {group} {took}, usually {duration(usually)}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.02512), duration(0.00031), duration(1.5)
    ('25.1 ms', '310 µs', '1.5 s')
    """
    for unit, one in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= one:
            return f"{seconds / one:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _missing(missing: Mapping[int, str], hosts: Sequence[Host]) -> Iterable[Finding]:
    for number in _hosts_of(missing, hosts):
        ranks = tuple(rank for rank in hosts[number].ranks if rank in missing)
        evidence = dict.fromkeys(f"{format_ranks([rank])} did not answer {missing[rank]}" for rank in ranks)
        yield Finding("missing ranks", (number,), ranks, None, tuple(evidence)[:SENTENCES])


def _hosts_of(ranks: Iterable[int], hosts: Sequence[Host]) -> list[int]:
    wanted = set(ranks)
    return [number for number, host in enumerate(hosts) if not wanted.isdisjoint(host.ranks)]


def _fabric(groups: Sequence[Measurement], hosts: Sequence[Host], slow: int, baseline: Report) -> Iterable[Finding]:
    """Whether what is usual now is slow by what was usual then."""
    rounds = len(baseline.partitions)
    earlier = of_groups([one for one in baseline.measurements if one.round < rounds], baseline.hosts, baseline.slow)
    worst, evidence = 0.0, []
    for (op, size), now in of_groups(groups, hosts, slow).items():
        if (then := earlier.get((op, size))) is None:
            continue
        scale = bus_factor(op, now.members) / bus_factor(op, then.members)
        if now.seconds / scale > then.limit:
            worst = max(worst, now.seconds / scale / then.seconds)
            took, took_then = duration(now.seconds), duration(then.seconds * scale)
            evidence.append(f"{op} of {shown(size)} usually takes {took} now, and took {took_then} in the baseline")
    if evidence:
        ranks = tuple(sorted(rank for host in hosts for rank in host.ranks))
        yield Finding("slow fabric", tuple(range(len(hosts))), ranks, round(worst, 2), tuple(evidence[:SENTENCES]))
