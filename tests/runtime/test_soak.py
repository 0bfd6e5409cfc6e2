"""Ranks that are killed, stopped, interrupted or slow at random moments of `init`."""

from __future__ import annotations

from collections import Counter

import pytest
from random_kills import DEEDS, WRONG, run, write_table

#: Runs of one seed: a thousand are 40 seeds.
RUNS = 25


def check(found: Counter[str], runs: int) -> None:
    assert found["runs"] == runs
    assert not {kind: found[kind] for kind in WRONG if found[kind]}


def test_four_random_deeds_to_one_rank_make_no_split_no_hang_and_no_crash() -> None:
    found = run(4, seed=1363)
    check(found, 4)
    assert [found[deed] for deed in DEEDS] == [1] * 4  # which this seed draws


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 5))
def test_a_hundred_random_deeds(seed: int) -> None:
    check(run(RUNS, seed), RUNS)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_thousand_random_deeds() -> None:
    found: Counter[str] = Counter()
    for seed in range(1, 41):
        found += run(RUNS, seed)
    write_table(found)
    check(found, 1000)
