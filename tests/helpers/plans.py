"""Plans and refusals for tests of planning."""

from __future__ import annotations

from typing import Any

import pytest

import pgregistry
from pgregistry import Axis, Mode, PgregistryError, Plan
from pgregistry.planning.planner import Planner


def planned(world_size: int, *modes: Mode, **keywords: Any) -> Plan:
    """Return a plan of these modes alone."""
    return Planner.read(world_size, {"extra": modes, **keywords}, environ={}, installed=()).plan()


def refusal(kind: type[PgregistryError], world_size: int, *modes: Mode, **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        planned(world_size, *modes, **keywords)
    return str(caught.value)


#: Three axes of 12 ranks, outermost first.
RING = Mode("ring", over=Axis("ring", 3))
LANE = Mode("lane", over=Axis("lane", 2, inside="ring"))
STAGE = Mode("stage", over=Axis("stage", 2, inside="lane"))
THREE = (RING, LANE, STAGE)
SIXTEEN = {"tensor": 2, "pipe": 2, "zero1": 2, "nettest": 3}


def extras(world_size: int, *modes: Mode, **keywords: Any) -> Plan:
    """Return a plan of these modes beside no plugin, with the settings of the environment."""
    return pgregistry.plan(world_size, only=[], extra=modes, **keywords)


def plan_refusal(kind: type[PgregistryError], world_size: Any, *modes: Mode, **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        pgregistry.plan(world_size, extra=modes, **keywords)
    return str(caught.value)


def lists(*groups: tuple[int, ...]) -> Mode:
    """Return the mode m with these groups, listed."""
    return Mode("m", groups=lambda mesh: groups)


def listing(mesh: Any) -> list[list[int]]:
    return [[2, 3], [0, 5]]
