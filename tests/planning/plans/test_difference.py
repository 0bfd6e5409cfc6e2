"""Differences of two plans, a sentence each."""

from __future__ import annotations

from typing import Any

import pytest
from plans import extras

import pgregistry
from pgregistry import WORLD, Axis, ConfigError, Mode


def test_the_diff_of_equal_plans_is_empty() -> None:
    assert pgregistry.plan(8).diff(pgregistry.plan(8)) == ()


@pytest.mark.parametrize("other", [None, 5, pgregistry.plan(8).to_json()])
def test_what_is_no_plan_is_refused(other: Any) -> None:
    with pytest.raises(ConfigError, match=r"^diff\(\) has other=.*; it must be a Plan\.$"):
        pgregistry.plan(8).diff(other)


DIFFERENCES = [
    (
        lambda: (extras(4, Mode("all", over=WORLD)), extras(6, Mode("all", over=WORLD))),
        (
            "world size: 4 here, 6 there",
            "group 0 of mode all: (0, 1, 2, 3) here, (0, 1, 2, 3, 4, 5) there",
        ),
    ),
    (
        lambda: (extras(4, Mode("a", over=())), extras(4, Mode("b", over=()))),
        ("mode a: plugin 'extra' here, none there", "mode b: none here, plugin 'extra' there"),
    ),
    (
        lambda: (pgregistry.plan(4), pgregistry.plan(4, disable=["dummy"])),
        ("mode dummy: plugin 'dummy', pgregistry 0.1.0 here, none there",),
    ),
    (
        lambda: [
            extras(8, Mode("r", over=Axis("r", 2)), Mode("s", over=Axis("s", 2)), order=order)
            for order in ("r,s", "s,r")
        ],
        (
            "order: r, s here, s, r there",
            "group 0 of mode r: (0, 2) here, (0, 1) there",
            "group 0 of mode s: (0, 1) here, (0, 2) there",
        ),
    ),
    (
        lambda: (extras(4, Mode("a", over=()), within=[0, 1]), extras(4, Mode("a", over=()))),
        ("within: ranks (0, 1) here, all ranks there", "group 2 of mode a: missing here, (2,) there"),
    ),
    (
        lambda: (
            extras(4, Mode("a", over=(), backend="gloo", timeout=3, cpu=True, dedicated=True)),
            extras(4, Mode("a", over=())),
        ),
        (
            "dedicated of mode a: True here, False there",
            "backend of mode a: gloo here, None there",
            "timeout of mode a: 3.0 here, None there",
            "cpu of mode a: True here, None there",
        ),
    ),
    (
        lambda: (
            extras(4, Mode("a", over=(), after="b"), Mode("b", over=())),
            extras(4, Mode("a", over=()), Mode("b", over=())),
        ),
        ("execution order: b, a here, a, b there",),
    ),
    (
        lambda: (extras(16, Mode("a", over=WORLD)), extras(16, Mode("a", over=(Axis("r", 16)), at=tuple(range(9))))),
        (
            "size r: none here, 16 (plugin default) there",
            "group 0 of mode a: (0, 1, 2, 3, 4, 5, … 16 ranks) here, (0, 1, 2, 3, 4, 5, … 9 ranks) there",
        ),
    ),
]


@pytest.mark.parametrize(("plans", "sentences"), DIFFERENCES, ids=[sentences[0] for _, sentences in DIFFERENCES])
def test_a_difference_is_said_in_a_sentence(plans: Any, sentences: tuple[str, ...]) -> None:
    here, there = plans()
    assert here.diff(there) == sentences


def test_groups_of_the_largest_world_are_compared_by_their_sizes() -> None:
    here, there = (pgregistry.plan(1 << 40, tensor=tensor, only=["data", "tensor"]) for tensor in (2, 4))
    assert here.diff(there) == (
        "size tensor: 2 (keyword) here, 4 (keyword) there",
        "size data: 549755813888 (what is left) here, 274877906944 (what is left) there",
        "groups of mode data: <2 groups of 549755813888 ranks> here, <4 groups of 274877906944 ranks> there",
        "group 0 of mode tensor: (0, 1) here, (0, 1, 2, 3) there",
    )
