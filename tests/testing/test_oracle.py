"""Groups by brute force are those of the origin."""

from __future__ import annotations

import origin
import pytest

import pgregistry
from pgregistry.planning.references import declared_sizes
from pgregistry.testing.oracle import Oracle
from pgregistry.testing.subject import Subject


@pytest.mark.parametrize("world", [1, 6, 8, 24])
def test_brute_force_finds_the_groups_of_the_origin(world: int) -> None:
    every = Subject("tensor").declared
    known = declared_sizes(mode for modes in every.values() for mode in modes)
    for tensor, pipe, zero1 in origin.valid_sizes(world):
        sizes = {"tensor": tensor, "pipe": pipe, "zero1": zero1, "nettest": 5}
        oracle = Oracle(pgregistry.plan(world, **sizes, only=origin.EIGHT), known)
        expected = origin.groups(world, **sizes)
        for name in origin.EIGHT:
            (mode,) = every[name]
            assert oracle.groups(mode) == sorted(map(tuple, expected[name])), (name, sizes)
