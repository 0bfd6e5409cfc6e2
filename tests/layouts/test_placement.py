"""`within` puts a plan on some ranks, or on all in another order."""

from __future__ import annotations

from typing import Any

import pytest
from plans import extras, plan_refusal

import pgregistry
from pgregistry import ConfigError, Mode


def test_within_puts_the_plan_on_these_ranks_only() -> None:
    plan = pgregistry.plan(16, within=range(4, 12), tensor=2, pipe=2, nettest=3)
    whole = pgregistry.plan(8, tensor=2, pipe=2, nettest=3)
    for name in whole:
        assert list(plan[name].groups) == [tuple(rank + 4 for rank in group) for group in whole[name].groups]
        assert [plan[name].groups.index_of(rank + 4) for rank in range(8)] == [
            whole[name].groups.index_of(rank) for rank in range(8)
        ]
        assert plan[name].group_of(3) is plan[name].group_of(12) is None
        assert plan[name].groups.sizes() == whole[name].groups.sizes()
    assert (plan.world_size, plan.ranks) == (16, (4, 5, 6, 7, 8, 9, 10, 11))


def test_within_in_another_order_is_the_order_of_ranks_in_a_group_and_first_ranks_ascend() -> None:
    plan = pgregistry.plan(8, within=[6, 0, 4, 2], tensor=2)
    assert list(plan["tensor"].groups) == [(4, 2), (6, 0)]
    assert list(plan["data"].groups) == [(0, 2), (6, 4)]
    assert list(plan["global"].groups) == [(6, 0, 4, 2)]
    assert (plan["tensor"].group_of(2), plan["tensor"].groups.index_of(2)) == ((4, 2), 0)


def test_orders_of_within_have_fingerprints_of_their_own() -> None:
    assert pgregistry.plan(4, within=[3, 2, 1, 0]).fingerprint != pgregistry.plan(4).fingerprint


def test_within_gives_a_groups_function_positions() -> None:
    seen = []

    def ends(mesh: Any) -> list[list[int]]:
        seen.append(mesh.world_size)
        return [[0, mesh.world_size - 1]]

    assert list(extras(8, Mode("ends", groups=ends), within=[5, 3, 1])["ends"].groups) == [(5, 1)]
    assert seen == [3]


def test_within_all_ranks_in_order_is_no_within() -> None:
    assert pgregistry.plan(8, within=range(8)) == pgregistry.plan(8)


@pytest.mark.parametrize("within", [[], [0, 0], [8], [-1], ["a"], [True], [1.0], 5], ids=str)
def test_within_is_a_list_of_different_ranks(within: Any) -> None:
    assert (
        plan_refusal(ConfigError, 8, within=within)
        == f"within = {within} (keyword) must be different ranks from 0 to 7."
    )
