"""The verdict of a network test on a simulated network."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgregistry_nettest.analysis.measurements import Measurement
from pgregistry_nettest.analysis.report import Host
from pgregistry_nettest.analysis.rounds import pair_steps, partitions
from pgregistry_nettest.analysis.suspects import find_suspects
from pgregistry_nettest.analysis.verdict import Verdict, judge
from simulated_network import MIB, Network


def named(verdict: Verdict) -> list[tuple[str, tuple[int, ...]]]:
    return [(finding.kind, finding.hosts) for finding in verdict.findings]


# --- the verdict ------------------------------------------------------------------------------------

SEEDS = st.integers(0, 10**6)
#: The noise of an example is drawn at random too, so the examples are the same in every run.
examples = settings(deadline=None, derandomize=True, max_examples=60)


@given(st.integers(4, 40), SEEDS)
@examples
def test_no_host_is_accused_where_none_is_slow(hosts: int, seed: int) -> None:
    assert named(Network(hosts, seed=seed).test(1)) == []


@given(st.integers(4, 40), st.floats(3, 50), SEEDS, st.data())
@examples
def test_one_slow_host_is_named_and_no_other(hosts: int, factor: float, seed: int, data: st.DataObject) -> None:
    host = data.draw(st.integers(0, hosts - 1))
    verdict = Network(hosts, {host: factor}, seed=seed).test(1)
    assert named(verdict) == [("slow host", (host,))]
    (finding,) = verdict.findings
    assert finding.factor == pytest.approx(factor, rel=0.5)
    assert len(finding.evidence) >= 2


@given(st.sampled_from([9, 12, 16, 20, 25, 36, 49]), st.floats(3, 20), SEEDS, st.data())
@examples
def test_two_slow_hosts_are_named_with_three_partitions(
    hosts: int, factor: float, seed: int, data: st.DataObject
) -> None:
    pair = data.draw(st.lists(st.integers(0, hosts - 1), min_size=2, max_size=2, unique=True).map(sorted))
    verdict = Network(hosts, dict.fromkeys(pair, factor), seed=seed).test(2)
    assert named(verdict) == [("slow host", (host,)) for host in pair]


@given(st.sampled_from([4, 5, 9, 16, 20]), SEEDS, st.data())
@examples
def test_a_slow_link_is_named_where_its_hosts_meet_and_hosts_are_not(
    hosts: int, seed: int, data: st.DataObject
) -> None:
    together = [pair for part in partitions(hosts, 1) for group in part for pair in combinations(group, 2)]
    pair = data.draw(st.sampled_from(together))
    verdict = Network(hosts, links={frozenset(pair): 5.0}, seed=seed).test(1)
    assert named(verdict) == [("slow link", pair)]


def test_three_hosts_are_tested_in_all_pairs() -> None:
    for host in range(3):
        assert named(Network(3, {host: 4.0}).test(1)) == [("slow host", (host,))]
    assert named(Network(3, links={frozenset((0, 2)): 4.0}).test(1)) == [("slow link", (0, 2))]


def test_two_hosts_cannot_be_compared_so_neither_is_accused() -> None:
    assert named(Network(2, {1: 10.0}).test(1)) == []


@given(st.integers(3, 20), SEEDS)
@examples
def test_much_noise_is_no_slow_host_and_no_slow_link(hosts: int, seed: int) -> None:
    assert named(Network(hosts, noise=0.3, seed=seed).test(1)) == []


@given(st.sampled_from([9, 16]), SEEDS, st.data())
@examples
def test_a_host_that_is_hardly_slow_lends_its_fault_to_no_link(hosts: int, seed: int, data: st.DataObject) -> None:
    host = data.draw(st.integers(0, hosts - 1))
    network = Network(hosts, {host: 5.0}, noise=0.0, seed=seed)
    groups = network.groups(1)
    unlucky = next(place for place, one in enumerate(groups) if host in one.ranks)
    groups[unlucky] = dataclasses.replace(groups[unlucky], seconds=(groups[unlucky].seconds or 0) / 5)
    steps = pair_steps(find_suspects(groups, network.hosts, 1), network.hosts)
    pairs = [network.measure("send_recv", MIB, pair, 2) for step in steps for pair in step]
    place = next(place for place, one in enumerate(pairs) if host in one.ranks)
    pairs[place] = dataclasses.replace(pairs[place], seconds=(pairs[place].seconds or 0) / 5)
    assert "slow link" not in {kind for kind, _ in named(judge([*groups, *pairs], network.hosts, 1, rounds=2))}


def test_a_suspect_that_is_fast_with_one_of_its_partners_is_not_named() -> None:
    network = Network(9, {4: 5.0}, noise=0.0)
    groups = network.groups(1)
    steps = pair_steps(find_suspects(groups, network.hosts, 1), network.hosts)
    pairs = [network.measure("send_recv", MIB, pair, 2) for step in steps for pair in step]
    assert named(judge([*groups, *pairs], network.hosts, 1, rounds=2)) == [("slow host", (4,))]
    first = next(place for place, one in enumerate(pairs) if 4 in one.ranks)
    pairs[first] = dataclasses.replace(pairs[first], seconds=(pairs[first].seconds or 0) / 5)
    assert named(judge([*groups, *pairs], network.hosts, 1, rounds=2)) == []


def test_some_ranks_of_a_host_are_slow_ranks_and_all_of_them_a_slow_host() -> None:
    network = Network(9, per_host=2)
    measured = []
    for one in network.groups(1):
        slow = 9 in one.ranks  # the second rank of host 4
        measured.append(dataclasses.replace(one, seconds=(one.seconds or 0) * (5 if slow else 1)))
    (finding,) = judge(measured, network.hosts, 1, rounds=2).findings
    assert (finding.kind, finding.hosts, finding.ranks) == ("slow ranks", (4,), (9,))
    assert named(Network(9, {4: 5.0}, per_host=2).test(1)) == [("slow host", (4,))]


def test_a_suspect_that_is_fast_in_pairs_is_not_named_but_noted() -> None:
    network = Network(9, {4: 5.0})
    groups = network.groups(1)
    found = find_suspects(groups, network.hosts, 1)
    network.slow = {}
    steps = pair_steps(found, network.hosts)
    pairs = [network.measure("send_recv", MIB, pair, 2) for step in steps for pair in step]
    verdict = judge([*groups, *pairs], network.hosts, 1, rounds=2)
    assert named(verdict) == []
    assert verdict.notes[0] == "Slow in groups, but not in pairs with good hosts, so not named: rank 4."


def test_a_link_that_is_slow_in_one_test_of_several_is_not_named() -> None:
    network = Network(9, links={frozenset((3, 5)): 5.0})
    groups = network.groups(1)
    steps = pair_steps(find_suspects(groups, network.hosts, 1), network.hosts)
    tests = [pair for step in steps for pair in step]
    assert tests.count((3, 5)) == 3
    pairs = [network.measure("send_recv", MIB, pair, 2) for pair in tests]
    assert named(judge([*groups, *pairs], network.hosts, 1, rounds=2)) == [("slow link", (3, 5))]
    third = max(place for place, pair in enumerate(tests) if pair == (3, 5))
    pairs[third] = dataclasses.replace(pairs[third], seconds=(pairs[third].seconds or 0) / 5)
    assert named(judge([*groups, *pairs], network.hosts, 1, rounds=2)) == []


def test_where_calls_vary_widely_a_difference_as_wide_is_nothing() -> None:
    network = Network(9, {4: 3.0}, noise=0.0)
    calm = [dataclasses.replace(one, spread=0.02 * (one.seconds or 0)) for one in network.groups(1)]
    wild = [dataclasses.replace(one, spread=0.7 * (one.seconds or 0)) for one in network.groups(1)]
    assert list(find_suspects(calm, network.hosts, 1).ranks) == [4]
    assert not find_suspects(wild, network.hosts, 1)


def test_differences_below_the_floor_are_nothing_however_many_times() -> None:
    network = Network(9, {4: 10.0}, noise=0.0)
    assert named(network.test(1, sizes=[1024])) == []  # 1 µs usually, 14 µs with host 4
    assert named(network.test(1, sizes=[1024, MIB])) == [("slow host", (4,))]


def test_a_group_is_not_slow_for_being_larger() -> None:
    # 7 hosts: groups of 3 and of 2. Where only steps count, those of 3 take twice as long.
    parts, hosts = partitions(7, 1), [Host(str(i), (i,)) for i in range(7)]
    assert {len(group) for part in parts for group in part} == {2, 3}
    measured = [
        Measurement(number, "all_reduce", 4, 1, group, 0.01 * (len(group) - 1))
        for number, part in enumerate(parts)
        for group in part
    ]
    assert not find_suspects(measured, hosts, 1)


def test_one_outlier_does_not_move_what_is_usual() -> None:
    # By the mean, the slow groups themselves would raise the bar: with a host that is 1000 times
    # slower, nothing else would be slow. Both hosts are found.
    assert named(Network(16, {3: 1000.0, 7: 3.0}).test(2)) == [("slow host", (3,)), ("slow host", (7,))]


def test_a_group_that_fails_is_slow() -> None:
    network = Network(9)
    measured = [
        dataclasses.replace(one, seconds=None, error="RuntimeError: timed out") if 4 in one.ranks else one
        for one in network.groups(1)
    ]
    (finding,) = judge(measured, network.hosts, 1, rounds=2).findings
    assert (finding.kind, finding.hosts, finding.factor) == ("slow host", (4,), None)
    assert finding.evidence[0].startswith(
        "partition 0: all_reduce of 1M among hosts 3 4 5 failed (RuntimeError: timed out), usually "
    )


def test_a_group_that_fails_is_never_healthy_though_its_pairs_are_well() -> None:
    network = Network(9, noise=0.0)
    groups = network.groups(1)
    groups[0] = dataclasses.replace(groups[0], seconds=None, error="RuntimeError: timed out")
    pairs = [network.measure("send_recv", MIB, pair, 2) for pair in combinations(range(9), 2)]
    (finding,) = judge([*groups, *pairs], network.hosts, 1, rounds=2).findings
    assert (finding.kind, finding.hosts, finding.factor) == ("slow link", (0, 1, 2), None)


def test_missing_ranks_are_named_with_the_moment() -> None:
    (finding,) = Network(9, per_host=2).test(1, missing={8: "in partition 1", 9: "in partition 1"}).findings
    assert (finding.kind, finding.hosts, finding.ranks) == ("missing ranks", (4,), (8, 9))
    assert finding.evidence == ("rank 8 did not answer in partition 1", "rank 9 did not answer in partition 1")


def test_a_slow_fabric_shows_against_a_baseline_alone() -> None:
    before, after = Network(9, speed=1e9), Network(9, speed=0.4e9)
    assert named(after.test(1)) == []
    verdict = after.test(1, baseline=before.report(1))
    assert named(verdict) == [("slow fabric", tuple(range(9)))]
    assert verdict.findings[0].factor == pytest.approx(2.5, rel=0.2)
    assert named(before.test(1, baseline=before.report(1))) == []
    assert named(Network(9, {2: 5.0}).test(1, baseline=before.report(1))) == [("slow host", (2,))]


@given(SEEDS)
@examples
def test_a_baseline_of_another_number_of_hosts_can_be_compared(seed: int) -> None:
    assert named(Network(16, seed=seed).test(1, baseline=Network(9).report(1))) == []
    before, after = Network(9, noise=0.0), Network(16, noise=0.0, speed=0.25e9)
    (finding,) = after.test(1, baseline=before.report(1)).findings
    assert (finding.kind, finding.factor) == ("slow fabric", 4.0)
