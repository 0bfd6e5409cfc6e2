"""Random splits at hosts and domains, and an oracle that knows only which position is on which host.

A group is divided by comparing the hosts of its positions. No size and no stride is computed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from random_worlds import agreeing, divided, fits, world_of

from pgregistry import DOMAIN, HOST, WORLD, Axis, Mode, Split

Groups = list[tuple[int, ...]]


def shares(groups: Groups, unit: list[int]) -> list[Groups]:
    """Return what each group has in each unit: ascending positions, in the order in which they come."""
    divided_groups = []
    for group in groups:
        there: dict[int, list[int]] = {}
        for position in group:
            there.setdefault(unit[position], []).append(position)
        divided_groups.append([tuple(positions) for positions in there.values()])
    return divided_groups


def neighbours(unit: list[int]) -> bool:
    """Return True if each unit has equally many positions, one after another."""
    met = [one for index, one in enumerate(unit) if index == 0 or unit[index - 1] != one]
    return len(met) == len(set(met)) and len({unit.count(one) for one in met}) == 1


@dataclass
class LevelCase:
    """Modes, their keywords, and what must come of them.

    Attributes:
        refused: The hosts would hold unequal shares of a split.
        inner: The groups of the inner part of each split at a level, by mode.
        outer: Those of the outer part.
        unit: The unit of each position, by the mode of the inner part.
        within: The rank at each position.
    """

    world_size: int = 0
    modes: list[Mode] = field(default_factory=list)
    keywords: dict[str, Any] = field(default_factory=dict)
    refused: bool = False
    inner: dict[str, Groups] = field(default_factory=dict)
    outer: dict[str, Groups] = field(default_factory=dict)
    unit: dict[str, list[int]] = field(default_factory=dict)
    wholes: dict[str, Groups] = field(default_factory=dict)
    within: list[int] = field(default_factory=list)


def random_case(chance: random.Random) -> LevelCase:
    """Return a nesting of random sizes with a chain of splits, at least one of them at a level."""
    names = chance.sample(["bank", "lane", "ring", "stage"], chance.randint(1, 4))
    sizes = {name: chance.choice((1, 2, 2, 3, 4, 4, 6)) for name in names}
    left = {"left": chance.choice((1, 1, 2, 3))}
    place = world_of({**left, **sizes})
    while len(place) > 200:
        sizes[chance.choice(names)] = 1
        place = world_of({**left, **sizes})
    case = LevelCase(len(place))
    axes = [Axis(name, sizes[name], inside=tuple(names[:index])) for index, name in enumerate(names)]
    case.modes = [Mode(axis.name, over=axis) for axis in axes]
    host = _hosts(case, chance)
    domain = case.keywords["hosts_per_domain"] = chance.choice((1, 2, 2, 3))
    leaves: dict[str, Any] = {name: name for name in names}
    if chance.random() < 0.2:
        place, leaves = {rank: {"world": rank} for rank in place}, {"world": WORLD}
    for number in range(chance.randint(1, 3)):
        of = set(chance.sample(sorted(leaves), min(len(leaves), chance.randint(1, 2))))
        references = [leaves.pop(name) for name in sorted(of)]
        inner, outer = f"inner{number}", f"outer{number}"
        at_level = number == 0 or chance.random() < 0.6
        whole = agreeing(place, of)
        level, size = chance.choice((HOST, HOST, DOMAIN)), 0
        if at_level:
            unit = host if level is HOST else [one // domain for one in host]
            parts = shares(whole, unit)
            lengths = {len(part) for group in parts for part in group}
            listed = "within" in case.keywords or "hosts" in case.keywords
            if len(lengths) > 1 or (listed and not neighbours(unit)):
                case.refused = True
            size = lengths.pop()
        else:
            size = chance.choice([one for one in range(1, len(whole[0]) + 1) if fits(place, of, one)])
        sides = chance.choice(((inner, None), (None, outer), (inner, outer)))
        default = level if at_level else size if sides[0] else len(whole[0]) // size
        split = Split(references if len(references) > 1 else references[0], *sides, size=default)
        case.modes += [Mode(inner, over=split), Mode(outer, over=split.outer)]
        if case.refused:
            return case
        if at_level:
            case.unit[inner], case.wholes[inner] = unit, whole
            case.inner[inner] = sorted(part for group in parts for part in group)
            case.outer[outer] = sorted(group for one in parts for group in zip(*one, strict=True))
        place = divided(place, of, size, outer, inner)
        leaves |= {inner: split.inner, outer: split.outer}
    return case


def _hosts(case: LevelCase, chance: random.Random) -> list[int]:
    """Choose the hosts of the ranks, and `within` of a larger world; return the host of each position."""
    positions = case.world_size
    divisors = [size for size in range(1, positions + 1) if positions % size == 0]
    each = chance.choice(divisors * 3 + [2, 3, 4, 8, 12])
    kind = chance.choice(("all", "all", "all", "some", "reordered", "listed", "listed"))
    if kind == "all":
        case.keywords["ranks_per_host"] = each
        return [position // each for position in range(positions)]
    count = -(-positions // each)
    if kind == "listed":
        chance_order = list(range(positions))
        if chance.random() < 0.5:
            chance.shuffle(chance_order)
        hosts = [chance_order[start : start + each] for start in range(0, positions, each)]
        case.keywords["hosts"] = hosts
        if chance.random() < 0.7:
            case.within = [rank for host in hosts for rank in host]
            if case.within != sorted(case.within):
                case.keywords["within"] = case.within
        ranks = case.keywords.get("within", range(positions))
        return [next(index for index, host in enumerate(hosts) if rank in host) for rank in ranks]
    spare = chance.choice((0, 1, each))
    case.world_size = count * (each + spare)
    case.keywords["ranks_per_host"] = each + spare
    within = [index * (each + spare) + rank for index in range(count) for rank in range(each)][:positions]
    if kind == "reordered":
        host_order = chance.sample(range(count), count)
        within = sorted(within, key=lambda rank: (host_order[rank // (each + spare)], rank))
        if chance.random() < 0.3:
            chance.shuffle(within)
    if within != list(range(case.world_size)):
        case.keywords["within"] = within
    case.within = within
    return [rank // (each + spare) for rank in within]
