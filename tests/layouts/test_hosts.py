"""The hosts of a run: what is known of them, and what a level of them is."""

from __future__ import annotations

from typing import Any

import pytest

from pgregistry import DOMAIN, HOST, ConfigError
from pgregistry.layouts.hosts import Hosts, neighbours

ORIGINS = {"ranks_per_host": "here", "hosts": "there", "hosts_per_domain": "elsewhere"}
INTERLEAVED = ((0, 2), (1, 3))


@pytest.mark.parametrize(
    ("world", "each", "hosts"),
    [(4, 2, [(0, 1), (2, 3)]), (3, 2, [(0, 1), (2,)]), (3, 8, [(0, 1, 2)]), (2, 1, [(0,), (1,)]), (1, 1, [(0,)])],
)
def test_neighbours_are_hosts_of_which_the_last_may_be_short(world: int, each: int, hosts: list[Any]) -> None:
    assert list(neighbours(world, each)) == hosts


def test_a_world_of_one_rank_is_one_host_in_one_domain() -> None:
    assert [Hosts(1).share(level, "near") for level in (HOST, DOMAIN)] == [(1, "a world of 1")] * 2


@pytest.mark.parametrize(
    ("given", "each", "ranks", "positions"),
    [
        ({}, None, None, None),
        ({"ranks_per_host": 2}, 2, [(0, 1), (2, 3)], [(0, 1), (2, 3)]),
        ({"ranks_per_host": 2, "within": (2, 0, 3)}, 2, [(0, 1), (2, 3)], [(1,), (0, 2)]),
        ({"hosts": INTERLEAVED}, 2, [(0, 2), (1, 3)], [(0, 2), (1, 3)]),
        ({"hosts": INTERLEAVED, "within": (0, 2, 1, 3)}, 2, [(0, 2), (1, 3)], [(0, 1), (2, 3)]),
        ({"hosts": ((0, 1, 2), (3,))}, None, [(0, 1, 2), (3,)], [(0, 1, 2), (3,)]),
    ],
    ids=str,
)
def test_hosts_are_known_from_their_number_or_their_list(given: Any, each: Any, ranks: Any, positions: Any) -> None:
    hosts = Hosts(4, **given)
    assert hosts.each == each
    assert (hosts.ranks and list(hosts.ranks)) == ranks
    assert (hosts.positions and list(hosts.positions)) == positions


@pytest.mark.parametrize(
    ("given", "host", "domain"),
    [
        ({"ranks_per_host": 2}, (2, "ranks_per_host, here"), (4, "hosts_per_domain, elsewhere")),
        ({"ranks_per_host": 2, "within": (4, 0)}, (1, "ranks_per_host, here"), (1, "hosts_per_domain, elsewhere")),
        ({"ranks_per_host": 2, "within": (0, 2)}, (1, "ranks_per_host, here"), (2, "hosts_per_domain, elsewhere")),
        ({"hosts": ((0, 1), (2, 3), (4, 5), (6, 7))}, (2, "hosts, there"), (4, "hosts_per_domain, elsewhere")),
    ],
    ids=str,
)
def test_each_host_and_each_domain_has_as_many_positions(given: Any, host: Any, domain: Any) -> None:
    hosts = Hosts(8, **given, hosts_per_domain=2, origins=ORIGINS)
    assert (hosts.share(HOST, "x"), hosts.share(DOMAIN, "x")) == (host, domain)


def test_a_short_last_host_is_as_many_only_if_it_may_be() -> None:
    hosts = Hosts(8, ranks_per_host=4, within=(0, 1, 2, 4), origins=ORIGINS)
    assert hosts.share(HOST, "x", ragged=True)[0] == 3
    with pytest.raises(ConfigError):
        hosts.share(HOST, "x")


def test_interleaved_domains_are_refused_with_the_order_that_brings_them_together() -> None:
    hosts = Hosts(4, ranks_per_host=1, within=(0, 2, 1, 3), hosts_per_domain=2, origins=ORIGINS)
    assert hosts.share(HOST, "x")[0] == 1
    with pytest.raises(ConfigError) as caught:
        hosts.share(DOMAIN, "x")
    assert str(caught.value) == (
        "x = DOMAIN: domains must hold equally many of the plan's ranks, one after another in their order, but they "
        "have (0 1), (2 3) (ranks_per_host, here).\n  Set x to a number, or bring them together: within=[0, 1, 2, 3]."
    )


def test_an_error_about_many_hosts_is_short() -> None:
    listed = tuple(tuple(range(start, 4096, 64)) for start in range(64))
    with pytest.raises(ConfigError) as caught:
        Hosts(4096, hosts=listed, origins=ORIGINS).share(HOST, "x")
    assert "(0 64 128 192 256 320 384 448 …), " in str(caught.value)
    assert len(str(caught.value)) < 500
