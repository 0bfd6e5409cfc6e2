"""Settings of plans that work, at random but always the same for a seed."""

from __future__ import annotations

import random
from typing import Any

from pgregistry import WORLD, Axis, Mode, Split


def divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def random_settings(chance: random.Random, world_size: int) -> dict[str, Any]:
    """Return keywords of a plan that works: third-party axes, splits, partial modes, dedicated ones."""
    third_parties = chance.sample(["expert", "context", "stage"], chance.randint(0, 3))
    axes, left = ["tensor", "pipe", *third_parties], world_size
    settings: dict[str, Any] = {}
    for axis in chance.sample(axes, len(axes)):
        settings[axis] = chance.choice(divisors(left))
        left //= settings[axis]
    extra = [Mode(name, over=Axis(name), dedicated=chance.random() < 0.2) for name in third_parties]
    axes.append("data")
    whole = settings | {"data": left}
    for name in chance.sample(["ends", "heads", "tails"], chance.randint(0, 3)):
        at = {"ends": (0, -1), "heads": (0,), "tails": (-1,)}[name]
        extra.append(Mode(name, over=chance.sample(axes, chance.randint(1, 2)), at=at))
    if chance.random() < 0.5:
        of = chance.choice(axes)
        split = Split(of, inner="near", outer="far", size=chance.choice(divisors(whole[of])))
        extra += [Mode("near", over=split, dedicated=chance.random() < 0.2), Mode("far", over=split.outer)]
    if chance.random() < 0.5:
        rows = Split(WORLD, inner="rows", size=chance.randint(1, world_size), ragged=True)
        extra.append(Mode("rows", over=rows, at=chance.choice([None, (0,), (0, -1)])))
    if chance.random() < 0.3:
        some = sorted(chance.sample(range(world_size), chance.randint(1, world_size)))
        cut = chance.randint(1, len(some))
        listed = [ranks for ranks in (some[:cut], some[cut:]) if ranks]
        extra.append(Mode("listed", groups=lambda mesh: listed))
    disable = chance.sample(["dummy", "nettest", "zero1"], chance.randint(0, 2))
    if "nettest" not in disable:
        settings["nettest"] = chance.randint(1, world_size)
    if "zero1" not in disable:
        settings["zero1"] = {"size": chance.choice(divisors(left)), "dedicated": chance.random() < 0.2}
    order = chance.sample(axes, len(axes))
    return settings | {"extra": extra, "order": order, "disable": disable}
