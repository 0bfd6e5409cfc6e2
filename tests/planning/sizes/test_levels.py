"""Splits at hosts and domains, beside brute force."""

from __future__ import annotations

import random
from typing import Any

import pytest
from levels_oracle import LevelCase, random_case
from plans import planned, refusal

from pgregistry import DOMAIN, HOST, REST, WORLD, Axis, ConfigError, Mesh, Mode, Plan, PluginError, Split
from pgregistry.planning.planner import Planner


def check(case: LevelCase) -> None:
    """Plan a case, and compare all groups of its splits at a level with those of the oracle."""
    ranks = case.keywords.get("within", range(case.world_size))
    if case.refused:
        with pytest.raises(ConfigError):
            planned(case.world_size, *case.modes, **case.keywords)
        return
    plan = planned(case.world_size, *case.modes, **case.keywords)
    for mode, groups in (case.inner | case.outer).items():
        assert list(plan[mode].groups) == sorted(tuple(ranks[place] for place in group) for group in groups), mode
    for mode, unit in case.unit.items():
        position = {rank: place for place, rank in enumerate(ranks)}
        groups = [[position[rank] for rank in group] for group in plan[mode].groups]
        assert all(len({unit[place] for place in group}) == 1 for group in groups), "a group crosses"
        whole = {place: group for group in case.wholes[mode] for place in group}
        for group in groups:
            beside = [place for place in whole[group[0]] if unit[place] == unit[group[0]]]
            assert group == beside, "a larger group does not cross"


def check_seeds(seeds: range) -> None:
    refused = 0
    for seed in seeds:
        case = random_case(random.Random(seed))
        refused += case.refused
        try:
            check(case)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {case}") from error
    assert len(seeds) / 10 < refused < len(seeds) * 0.7


def test_a_random_split_at_a_level_has_the_groups_of_brute_force() -> None:
    check_seeds(range(150))


@pytest.mark.slow
def test_many_random_splits_at_a_level_have_the_groups_of_brute_force() -> None:
    check_seeds(range(1000, 3000))


SHARD = Split("ring", inner="shard", outer="replicate", size=HOST)
RING = Mode("ring", over=Axis("ring", REST, outside="lane"))
LANE = Mode("lane", over=Axis("lane", 2))
BOTH = (RING, LANE, Mode("shard", over=SHARD), Mode("replicate", over=SHARD.outer))


def groups(plan: Plan, *names: str) -> list[list[tuple[int, ...]]]:
    return [list(plan[name].groups) for name in names]


def test_the_inner_part_is_what_lies_inside_one_host() -> None:
    plan = planned(8, *BOTH, ranks_per_host=4)
    assert groups(plan, "shard", "replicate") == [
        [(0, 2), (1, 3), (4, 6), (5, 7)],
        [(0, 4), (1, 5), (2, 6), (3, 7)],
    ]
    assert (plan.values["shard"].value, plan.origins["shard"]) == (2, "ranks_per_host, keyword")
    assert (plan.values["replicate"].value, plan.origins["replicate"]) == (2, "what is left")


@pytest.mark.parametrize(("sides", "size"), [({"outer": "part"}, 2), ({"inner": "part"}, 4)], ids=["outer", "inner"])
def test_it_is_the_inner_part_whichever_side_has_a_name(sides: dict[str, str], size: int) -> None:
    split = Split(WORLD, size=HOST, **sides)
    plan = planned(8, Mode("in", over=split), Mode("out", over=split.outer), ranks_per_host=4)
    assert (plan["in"].groups[0], plan["out"].groups[0]) == ((0, 1, 2, 3), (0, 4))
    assert plan.sizes == {"part": size}


def test_a_domain_is_as_many_hosts() -> None:
    split = Split("ring", inner="near", size=DOMAIN)
    plan = planned(16, RING, LANE, Mode("near", over=split), ranks_per_host=2, hosts_per_domain=2)
    assert plan["near"].groups[:2] == ((0, 2), (1, 3))
    assert plan.origins["near"] == "hosts_per_domain, keyword"


def test_a_level_below_and_a_level_above_make_a_chain() -> None:
    near = Split("ring", inner="near", outer="across", size=HOST)
    far = Split(near.outer, inner="rack", outer="racks", size=DOMAIN)
    modes = [Mode("near", over=near), Mode("rack", over=far), Mode("racks", over=far.outer)]
    plan = planned(32, RING, LANE, *modes, ranks_per_host=4, hosts_per_domain=2)
    assert [one[0] for one in groups(plan, "near", "rack", "racks")] == [(0, 2), (0, 4), (0, 8, 16, 24)]


@pytest.mark.parametrize("given", [{"shard": 4}, {"replicate": 1}, {"shard": 4, "replicate": 1}], ids=str)
def test_a_number_for_either_part_replaces_the_level(given: dict[str, int]) -> None:
    assert planned(8, *BOTH, **given)["shard"].groups == [(0, 2, 4, 6), (1, 3, 5, 7)]


def test_positions_of_within_are_counted_on_the_hosts_of_their_ranks() -> None:
    plan = planned(8, *BOTH, ranks_per_host=4, within=[4, 5, 0, 1])
    assert plan.sizes == {"ring": 2, "lane": 2, "shard": 1, "replicate": 2}
    plan = planned(8, *BOTH, hosts=[[0, 2, 4, 6], [1, 3, 5, 7]], within=[1, 3, 5, 7, 0, 2, 4, 6])
    assert groups(plan, "shard")[0] == [(0, 4), (1, 5), (2, 6), (3, 7)]


def test_a_ragged_split_of_the_world_takes_hosts_of_which_the_last_is_short() -> None:
    split = Split(WORLD, inner="host", size=HOST, ragged=True)
    assert groups(planned(5, Mode("host", over=split), ranks_per_host=2), "host") == [[(0, 1), (2, 3), (4,)]]
    plan = planned(8, Mode("host", over=split), hosts="0-2;3-5;6,7")
    assert groups(plan, "host") == [[(0, 1, 2), (3, 4, 5), (6, 7)]]


def test_another_split_can_be_as_large_as_a_part_at_a_level() -> None:
    row = Mode("row", over=Split(WORLD, inner="row", size="shard"))
    assert planned(8, *BOTH, row, ranks_per_host=4)["row"].groups[1] == (2, 3)


def test_an_axis_cannot_take_its_size_from_a_part_at_a_level() -> None:
    axis = Mode("same", over=Axis("same", "shard", outside="ring"))
    assert refusal(PluginError, 8, *BOTH, axis, ranks_per_host=4) == (
        "ring needs same needs shard, but shard is cut at HOST when axes are nested, so no axis can take its size "
        "from it. Set ring, same or shard to a number."
    )
    assert planned(8, *BOTH, axis, shard=2).sizes["same"] == 2


def test_ranks_per_host_of_a_launcher_yields_to_hosts() -> None:
    environ = {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2"}
    keywords = {"extra": BOTH, "hosts": "0-3;4-7"}
    plan = Planner.read(8, keywords, environ=environ, installed=()).plan()
    assert (plan.sizes["shard"], plan.origins["shard"], plan.ranks_per_host) == (2, "hosts, keyword", 4)


def test_every_split_that_cannot_be_cut_is_reported() -> None:
    other = Mode("odd", over=Split("lane", inner="odd"))
    text = refusal(ConfigError, 12, *BOTH, other, ranks_per_host=3, odd=5)
    assert text.startswith("2 problems:\n- shard = HOST must have an equal share on each host")
    assert "\n- odd = 5 (keyword) does not divide lane = 2 (plugin default)." in text


def test_hosts_that_no_mode_needs_may_be_of_any_kind() -> None:
    plan = planned(8, RING, LANE, hosts="0,2,4;1,3,5-7", hosts_per_domain=9)
    assert (plan.hosts, plan.ranks_per_host, plan.hosts_per_domain) == (((0, 2, 4), (1, 3, 5, 6, 7)), None, 9)
    assert plan.fingerprint == planned(8, RING, LANE).fingerprint


@pytest.mark.parametrize(
    "given",
    [{"ranks_per_host": 3}, {"hosts": "0-3;4-7"}, {"hosts": "0,2;1,3-7", "hosts_per_domain": 2}, {}],
    ids=str,
)
def test_the_json_of_a_plan_keeps_hosts(given: dict[str, Any]) -> None:
    plan = planned(8, LANE, **given)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert (again.hosts, again.ranks_per_host, again.hosts_per_domain) == (
        plan.hosts,
        plan.ranks_per_host,
        plan.hosts_per_domain,
    )
    assert again.hosts == (None if not given else plan.hosts)


def seen_by_mesh(**keywords: Any) -> tuple[list[tuple[int, ...]], int]:
    """Return the hosts and the ranks per host that a function of groups finds."""
    seen: list[Any] = []

    def look(mesh: Mesh) -> list[list[int]]:
        seen.extend((list(mesh.hosts), mesh.ranks_per_host))
        return []

    planned(8, Mode("look", groups=look), **keywords)
    return seen[0], seen[1]


def test_a_mesh_has_the_hosts_of_the_positions_of_the_plan() -> None:
    assert seen_by_mesh(ranks_per_host=4) == ([(0, 1, 2, 3), (4, 5, 6, 7)], 4)
    assert seen_by_mesh(ranks_per_host=4, within=[6, 0, 7, 1]) == ([(1, 3), (0, 2)], 2)
    assert seen_by_mesh(hosts="4-7;0-3") == ([(4, 5, 6, 7), (0, 1, 2, 3)], 4)
