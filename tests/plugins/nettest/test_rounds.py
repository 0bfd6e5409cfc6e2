"""Partitions of the hosts, as hosts and as ranks."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgregistry_nettest.analysis.report import Host
from pgregistry_nettest.analysis.rounds import partitions, rank_groups

from pgregistry import ConfigError


@given(st.integers(2, 400), st.integers(1, 4))
@settings(deadline=None)
def test_two_hosts_meet_at_most_once_and_there_is_one_partition_more_than_slow_hosts(hosts: int, slow: int) -> None:
    if hosts < (slow + 1) ** 2 + slow:  # fewer may be too few
        slow = 1
    parts = partitions(hosts, slow)
    met = Counter(pair for part in parts for group in part for pair in combinations(group, 2))
    assert max(met.values()) == 1
    assert len(parts) == (slow + 1 if hosts > 3 else {2: 1, 3: 3}[hosts])
    for part in parts:
        assert max(Counter(host for group in part for host in group).values()) == 1
        sizes = {len(group) for group in part}
        assert max(sizes) - min(sizes) <= 1
        if hosts not in (2, 3, 5):
            assert sum(map(len, part)) == hosts, "nobody is left out"


@pytest.mark.parametrize(
    ("hosts", "slow", "size", "count"), [(9, 1, 3, 3), (9, 2, 3, 3), (16, 1, 4, 4), (16, 2, 4, 4), (12, 1, 3, 4)]
)
def test_groups_are_equal_where_they_can_be(hosts: int, slow: int, size: int, count: int) -> None:
    for part in partitions(hosts, slow):
        assert [len(group) for group in part] == [size] * count


def test_so_many_slow_hosts_that_they_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError) as error:
        partitions(9, 5)
    assert str(error.value) == (
        "slow = 5 must be at most 3 among 9 hosts: more slow hosts cannot be told apart. "
        "Set slow = 3, or test more hosts."
    )


def test_ranks_of_a_partition_are_the_first_ranks_of_hosts_together_and_so_on() -> None:
    hosts = [Host(str(ranks), ranks) for ranks in ((0, 1), (2, 3, 4), (5, 6), (7, 8))]
    first, second = partitions(4, 1)
    assert rank_groups(first, hosts) == [[0, 2], [1, 3], [5, 7], [6, 8]]
    assert rank_groups(second, hosts) == [[0, 5], [1, 6], [2, 7], [3, 8]]
