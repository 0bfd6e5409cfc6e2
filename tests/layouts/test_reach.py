"""How many groups lie inside one host, inside one domain, and across: counted as the groups themselves have it."""

from __future__ import annotations

import random
from collections import Counter
from math import prod

import pytest

import pgregistry
from pgregistry import ConfigError, Mode
from pgregistry.layouts.factors import Factor, merge, pin
from pgregistry.layouts.groups import Groups, laid_out
from pgregistry.layouts.hosts import Hosts
from pgregistry.layouts.layout import Layout, Ragged
from pgregistry.layouts.placement import Reach, floor_sum, place, reach


def counted(groups: Groups, hosts: Hosts) -> Reach | None:
    """Return the numbers by a look at each rank of each group."""
    if hosts.ranks is None:
        return None
    host = {rank: index for index, ranks in enumerate(hosts.ranks) for rank in ranks}
    domain = {rank: index // (hosts.hosts_per_domain or 1) for rank, index in host.items()}
    found = Counter(
        "host" if len({host[rank] for rank in group}) == 1 else "domain" if one_domain else "across"
        for group in groups
        for one_domain in [len({domain[rank] for rank in group}) == 1]
    )
    return Reach(found["host"], found["domain"] if hosts.hosts_per_domain else None, found["across"])


def random_groups(chance: random.Random) -> tuple[int, Groups]:
    """Return a number of positions, and groups of any layout of them."""
    sizes = [chance.choice([1, 2, 3, 4, 5, 6]) for _ in range(chance.randint(1, 4))]
    digits = [(size, prod(sizes[index + 1 :])) for index, size in enumerate(sizes)]
    varies: list[Factor] = []
    pinned = []
    ragged = None
    for size, stride in digits:
        kind = chance.choice(["fixed", "varies", "varies", "pinned", "ragged"])
        if kind == "varies":
            varies.append((size, stride))
        elif kind == "pinned":
            pinned.append((merge([(size, stride)]), chance.randrange(-1, size)))
        elif kind == "ragged" and ragged is None:
            ragged = Ragged(size, chance.randint(1, size), stride, chance.choice(["inner", "outer"]))
    at = chance.choice([None, None, (0,), (0, 1), (0, -1), (2,), (1, -2)])
    return prod(sizes), laid_out(Layout(prod(sizes), merge(varies), ragged, at, pin(pinned) if pinned else ()))


def random_hosts(world_size: int, within: tuple[int, ...] | None, chance: random.Random) -> Hosts:
    """Return hosts of a world: of neighbours, of lists in any order, or unknown."""
    domain = chance.choice([None, 1, 2, 3])
    if chance.random() < 0.7:
        return Hosts(world_size, chance.randint(1, 9), None, domain, within)
    ranks = list(range(world_size))
    if chance.random() < 0.5:
        chance.shuffle(ranks)
    cuts = sorted(chance.sample(range(1, world_size), min(world_size - 1, chance.randint(0, 4)))) if ranks[1:] else []
    hosts = [tuple(ranks[low:high]) for low, high in zip([0, *cuts], [*cuts, world_size], strict=True)]
    return Hosts(world_size, None, tuple(hosts), domain, within)


@pytest.mark.parametrize("seed", range(10))
def test_any_groups_on_any_hosts_are_counted_as_they_are(seed: int) -> None:
    chance = random.Random(seed)
    kinds = Counter[bool]()
    for _ in range(200):
        positions, groups = random_groups(chance)
        world_size, within = positions, None
        if chance.random() < 0.3:
            world_size += chance.randint(0, 6)
            ranks = chance.sample(range(world_size), positions)
            within = tuple(ranks if chance.random() < 0.3 else sorted(ranks))
        hosts = random_hosts(world_size, within, chance)
        placed = place(groups, within)
        assert reach(placed, hosts) == counted(placed, hosts), (groups, hosts)
        kinds[len(placed) > 1] += 1
    assert min(kinds.values()) > 20


def test_of_unknown_hosts_nothing_is_counted() -> None:
    assert pgregistry.plan(8, tensor=2).reach("tensor") is None
    with pytest.raises(ConfigError, match="The plan has no mode 'tensr'"):
        pgregistry.plan(8, ranks_per_host=2).reach("tensr")


def test_a_plan_counts_the_groups_of_each_mode_and_so_does_its_document() -> None:
    ring = Mode("ring", groups=lambda mesh: [[3, 2, 1, 0], [4, 7]])
    plan = pgregistry.plan(16, tensor=2, pipe=2, ranks_per_host=4, hosts_per_domain=2, extra=[ring])
    expected = {"tensor": (8, 0, 0), "pipe": (8, 0, 0), "data": (0, 0, 4), "global": (0, 0, 1), "ring": (2, 0, 0)}
    assert {name: plan.reach(name) for name in expected} == expected
    read = pgregistry.Plan.from_json(plan.to_json())
    assert {name: read.reach(name) for name in plan} == {name: plan.reach(name) for name in plan}


@pytest.mark.parametrize("each", [8, 12, 7, 1000, 99_991])
def test_a_million_ranks_are_counted_by_what_repeats(each: int) -> None:
    small, large = (Layout(size, ((4, 32), (4, 1))) for size in (128 * each, 128 * each * 80))
    hosts = [Hosts(layout.world, each, None, 5) for layout in (small, large)]
    few, many = (reach(laid_out(layout), known) for layout, known in zip((small, large), hosts, strict=True))
    assert few is not None
    assert many is not None
    assert (many.host, (many.domain or 0) + many.across) == (80 * few.host, 80 * ((few.domain or 0) + few.across))


def test_ranks_in_any_order_and_listed_hosts_are_counted_without_a_list_of_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So `order` takes as long where hosts of a domain are not neighbours."""
    each, number = 8, 64
    ranks = tuple(
        rank for part in range(4) for host in range(part, number, 4) for rank in range(host * 8, host * 8 + 8)
    )
    hosts = tuple(ranks[start : start + each] for start in range(0, len(ranks), each))
    layouts = [Layout(len(ranks), (factor,)) for factor in ((8, 1), (4, 8), (32, 16))]
    expected = [counted(place(laid_out(one), ranks), Hosts(len(ranks), None, hosts, 16, ranks)) for one in layouts]
    assert len({*expected}) == 3
    known, looks = Hosts(len(ranks), None, hosts, 16, ranks), list[int]()
    units = Hosts.units
    monkeypatch.setattr(Hosts, "units", lambda self, together=1: looks.append(together) or units(self, together))
    monkeypatch.setattr("pgregistry.layouts.placement.ListedGroups", None)
    assert [reach(place(laid_out(one), ranks), known) for one in layouts] == expected
    assert looks == [1, 16]


def test_floor_sums_are_sums() -> None:
    chance = random.Random(0)
    for _ in range(300):
        count, step, start, divisor = (chance.randint(low, 40) for low in (0, 0, 0, 1))
        assert floor_sum(count, step, start, divisor) == sum((start + i * step) // divisor for i in range(count))
