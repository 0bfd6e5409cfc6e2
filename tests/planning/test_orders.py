"""Nesting orders, the best first: each is what a plan in this order has, counted rank by rank."""

from __future__ import annotations

import random
from itertools import permutations
from math import prod

import pytest

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode, Split
from pgregistry.layouts.placement import Reach
from pgregistry.planning.orders import NestingOrder, mode_weights, nesting_orders
from pgregistry.planning.planner import Planner
from pgregistry.planning.plans.view import REACH, PlanView


def orders(world_size: int, weights: dict[str, float] | None = None, **given: object) -> list[NestingOrder]:
    return nesting_orders(Planner.read(world_size, given, environ={}, installed=()), weights or {})


def counted(plan: pgregistry.Plan, name: str) -> Reach:
    """Return how far the groups of a mode reach, by a look at each rank."""
    each, together = plan.ranks_per_host or 0, plan.hosts_per_domain or 0
    hosts = [{rank // each for rank in group} for group in plan[name].groups]
    domains = [{host // together for host in group} for group in hosts]
    inside, near = sum(len(one) == 1 for one in hosts), sum(len(one) == 1 for one in domains)
    return Reach(inside, near - inside, len(hosts) - near)


@pytest.mark.parametrize("seed", range(12))
def test_every_order_has_what_its_plan_has_and_the_cheapest_is_first(seed: int) -> None:
    chance = random.Random(seed)
    sizes = {name: chance.choice([1, 2, 2, 3, 4]) for name in ("ring", "lane", "stage", "bank")}
    modes = [Mode(name, over=Axis(name, size)) for name, size in sizes.items()]
    modes.append(Mode("both", over=("ring", "stage")))
    world_size = prod(sizes.values())
    known = {"ranks_per_host": chance.randint(1, 8), "hosts_per_domain": chance.randint(1, 4)}
    weights = {"ring": chance.choice([0, 1, 10]), "both": 2.5}
    found = orders(world_size, weights, extra=modes, **known)
    assert {one.axes for one in found} == {*permutations(name for name, size in sizes.items() if size > 1)}
    for one in found:
        plan = pgregistry.plan_modes(world_size, modes, order=one.axes, **known)
        reaches = {name: counted(plan, name) for name in plan}
        assert one.reach == reaches
        costs: dict[tuple[tuple[int, ...], ...], float] = {}  # equal groups count once
        for name, counts in reaches.items():
            mean = ((counts.domain or 0) + 2 * counts.across) / len(plan[name].groups)
            groups = tuple(plan[name].groups)
            costs[groups] = max(costs.get(groups, 0), weights.get(name, 1) * mean)
        assert one.cost == pytest.approx(sum(costs.values()))
    assert [one.cost for one in found] == sorted(one.cost for one in found)


def bundled(world_size: int, weights: dict[str, float] | None = None, **given: object) -> NestingOrder:
    """Return the best order of the plugins that are bundled."""
    return nesting_orders(Planner.read(world_size, {**given, "only": ["bundled"]}, environ={}), weights or {})[0]


@pytest.mark.parametrize(
    ("world_size", "given"),
    [
        (16, {"tensor": 4, "pipe": 2, "ranks_per_host": 4}),
        (64, {"tensor": 8, "ranks_per_host": 8}),
        (32, {"tensor": 4, "pipe": 2, "zero1": 2, "ranks_per_host": 4}),
        (64, {"tensor": 4, "pipe": 2, "zero1": 4, "ranks_per_host": 4, "hosts_per_domain": 4}),
        (64, {"tensor": 8, "ranks_per_host": 8, "order": ["tensor", "data"]}),
    ],
)
def test_no_default_weights_put_tensor_groups_across_hosts(world_size: int, given: dict[str, object]) -> None:
    best = bundled(world_size, **given)
    assert (best.axes[-1], best.reach["tensor"].across) == ("tensor", 0)


def test_modes_with_equal_groups_count_once_and_those_over_the_world_not_at_all() -> None:
    given = {"tensor": 4, "pipe": 2, "ranks_per_host": 4}
    alone = orders(16, extra=[Mode(name, over=Axis(name, 4)) for name in ("lane", "ring")], ranks_per_host=4)
    modes = [Mode(name, over=Axis(name.strip("2"), 4)) for name in ("lane", "ring")]
    modes += [Mode(f"ring{index}", over="ring") for index in range(3)]
    modes += [Mode("world", over=WORLD), Mode("few", over=Split(WORLD, inner="few", size=8)), Mode("self", over=())]
    assert [(one.axes, one.cost) for one in orders(16, extra=modes, ranks_per_host=4)] == [
        (one.axes, one.cost) for one in alone
    ]
    assert bundled(16, **given).cost == 1 + 10 + 10  # data and zero1; pipe; model
    assert bundled(16, {"zero1": 3, "data": 2}, **given).axes[0] == "tensor"  # 3 + 1 + 1 for data, pipe, model inside


def test_a_mode_weighs_by_how_deep_its_lightest_axis_nests() -> None:
    modes = [
        Mode("ring", over=Axis("ring", 2)),
        Mode("lane", over=Axis("lane", 2, inside="ring")),
        Mode("void", over=Axis("void", 1, inside="lane")),
        Mode("core", over=Axis("core", 2, inside="void")),
        Mode("stranger", over=Axis("stranger", 2)),
        Mode("half", over=Split(("lane", "core"), inner="half", size=2)),
        Mode("both", over=("core", "ring")),
        Mode("listed", groups=lambda mesh: [[0, 1]]),
    ]
    order = ["stranger", "ring", "lane", "core"]
    planner = Planner.read(16, {"extra": modes, "order": order}, environ={}, installed=())
    assert mode_weights(planner, {}) == {
        "ring": 1, "lane": 10, "void": 100, "core": 100, "stranger": 1, "half": 10, "both": 1, "listed": 1,
    }  # fmt: skip
    assert set(mode_weights(planner, {"lane": 5}).values()) == {1, 5}


def test_of_equal_orders_the_current_one_is_first() -> None:
    modes = [Mode(name, over=Axis(name, 2)) for name in ("lane", "ring")]
    for order in (("lane", "ring"), ("ring", "lane")):
        assert orders(4, extra=modes, ranks_per_host=4, order=list(order))[0].axes == order


def reached(plan: pgregistry.Plan, name: str) -> Reach:
    """Return the same on hosts of any ranks."""
    host = {rank: index for index, ranks in enumerate(plan.hosts or ()) for rank in ranks}
    groups = [{host[rank] for rank in group} for group in plan[name].groups]
    inside = sum(len(hosts) == 1 for hosts in groups)
    if plan.hosts_per_domain is None:
        return Reach(inside, None, len(groups) - inside)
    near = sum(len({one // plan.hosts_per_domain for one in hosts}) == 1 for hosts in groups)
    return Reach(inside, near - inside, len(groups) - near)


@pytest.mark.parametrize("seed", range(12))
def test_every_row_and_every_column_is_what_ranks_on_any_hosts_have(seed: int) -> None:
    chance = random.Random(seed)
    sizes = {name: chance.choice([2, 2, 3, 4]) for name in ("ring", "lane", "stage")}
    modes = [Mode(name, over=Axis(name, size)) for name, size in sizes.items()]
    modes += [
        Mode("half", over=Split("ring", inner="half", size=sizes["ring"])),
        Mode("ends", over="lane", at=(0, -1)),
        Mode("last", over="ring", where={"stage": -1}),
        Mode("few", over=Split(WORLD, inner="few", size=5, ragged=True)),
        Mode("listed", groups=lambda mesh: [[1, 0], [mesh.world_size - 1]]),
    ]
    number = prod(sizes.values())
    world_size = number + chance.randint(0, 3)
    ranks = chance.sample(range(world_size), world_size)
    cuts = sorted(chance.sample(range(1, world_size), chance.randint(1, 4)))
    hosts = [ranks[low:high] for low, high in zip([0, *cuts], [*cuts, world_size], strict=True)]
    known = {"hosts": hosts, "hosts_per_domain": chance.choice([None, 1, 2, 3])}
    known = {name: value for name, value in known.items() if value is not None}
    if world_size > number or chance.random() < 0.5:
        known["within"] = chance.sample(range(world_size), number)
    for one in orders(world_size, extra=modes, **known):
        plan = pgregistry.plan_modes(world_size, modes, order=one.axes, **known)
        found = {name: reached(plan, name) for name in plan}
        assert one.reach == found
        assert {name: plan.reach(name) for name in plan} == found
        view = PlanView(plan)
        for cells in view.rows():
            shown = dict(zip(view.columns(), cells, strict=True))
            columns = [shown[head] for head in REACH if head in shown]
            assert columns == [str(count) for count in found[cells[0]] if count is not None]


def test_what_cannot_be_planned_in_an_order_is_refused_in_that_order_alone() -> None:
    sizes = {"ring": 3, "lane": 2, "stage": 2}
    modes = [Mode(name, over=Axis(name, size)) for name, size in sizes.items()]
    modes.append(Mode("trio", over=Split(("ring", "stage"), inner="trio", size=3)))
    found = orders(12, extra=modes, ranks_per_host=2)
    assert len(found) == 6
    for one in found:
        if one.refusal:
            with pytest.raises(ConfigError) as caught:
                pgregistry.plan_modes(12, modes, order=one.axes)
            assert one.refusal == str(caught.value)
        else:
            pgregistry.plan_modes(12, modes, order=one.axes)
    refused = [one for one in found if one.refusal]
    assert 0 < len(refused) < 6
    assert found[-len(refused) :] == refused


def test_the_order_at_hand_is_marked_if_there_is_one() -> None:
    ring, lane = (Mode(name, over=Axis(name, 2)) for name in ("ring", "lane"))
    stage = Mode("stage", over=Axis("stage", 2, inside=("ring", "lane")))
    assert not [one for one in orders(8, extra=[ring, lane, stage], ranks_per_host=2) if one.current]
    (now,) = [one for one in orders(4, extra=[ring, lane], ranks_per_host=2, order=["lane", "ring"]) if one.current]
    assert now.axes == ("lane", "ring")


def test_within_and_unequal_hosts_count_as_they_are() -> None:
    modes = [Mode("ring", over=Axis("ring", 2)), Mode("lane", over=Axis("lane", 2))]
    best, other = orders(8, extra=modes, within=[0, 4, 1, 5], ranks_per_host=4)
    assert (best.axes, other.axes) == (("lane", "ring"), ("ring", "lane"))
    assert (best.reach["ring"], best.reach["lane"]) == ((0, None, 2), (2, None, 0))
    (unequal, _) = orders(4, extra=modes, hosts="0-2;3")
    assert unequal.reach == {"lane": (1, None, 1), "ring": (1, None, 1)}


def test_what_is_wrong_is_said_together() -> None:
    with pytest.raises(ConfigError) as caught:
        orders(4, {"rng": 1, "ring": float("nan")}, extra=[Mode("ring", over=Axis("ring", 2))])
    assert str(caught.value) == (
        "3 problems:\n"
        "- weight: there is no mode 'rng'. Did you mean 'ring'?\n"
        "- weight of ring = nan must be a number from 0 on.\n"
        "- An order keeps groups inside hosts, so ranks per host must be known: give ranks_per_host=8, or hosts=."
    )
    many = [Mode(f"m{index}", over=Axis(f"a{index}", 2)) for index in range(9)]
    with pytest.raises(ConfigError, match="have 362880 orders; at most 8 axes may be larger than 1"):
        orders(512, extra=many, ranks_per_host=8)


def test_a_weight_of_a_mode_that_no_order_moves_is_refused() -> None:
    planner = Planner.read(16, {"tensor": 2, "ranks_per_host": 4}, environ={})
    with pytest.raises(ConfigError) as raised:
        nesting_orders(planner, {"global": 5, "dummy": 1})
    way_out = "Give weights to data, pipe, tensor, model or zero1."
    rule = f"no order moves a mode over the whole world or over nothing. {way_out}"
    assert str(raised.value) == f"2 problems:\n- weight of dummy: {rule}\n- weight of global: {rule}"


def test_an_order_at_hand_that_leaves_out_an_axis_is_refused_as_a_plan_refuses_it() -> None:
    given = {"tensor": 2, "ranks_per_host": 4, "order": ["tensor"]}
    for refuse in (lambda: pgregistry.plan(16, **given), lambda: orders_of(given)):
        with pytest.raises(ConfigError, match="leaves out data = 8; every axis larger than 1 must be named"):
            refuse()


def orders_of(given: dict[str, object]) -> list[NestingOrder]:
    return nesting_orders(Planner.read(16, given, environ={}), {})
