"""Splits at hosts and domains, beside brute force."""

from __future__ import annotations

import random

import pytest
from levels_oracle import LevelCase, random_case
from plans import planned

from pgregistry import ConfigError


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
