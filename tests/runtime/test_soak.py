"""Ranks that are killed, stopped, interrupted or slow at random moments of `init`."""

from __future__ import annotations

import pytest
from random_kills import WRONG, run, write_table

RUNS = [
    pytest.param(10, marks=pytest.mark.timeout(600)),
    pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
]


@pytest.mark.parametrize("count", RUNS)
def test_random_deeds_to_one_rank_make_no_split_no_hang_and_no_crash(count: int) -> None:
    found = run(count, seed=count)
    assert found["runs"] == count
    if count == 1000:
        write_table(found)
    assert not {kind: found[kind] for kind in WRONG if found[kind]}
