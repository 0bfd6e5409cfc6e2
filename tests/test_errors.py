"""The public error classes: their fields, and how several errors become one."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from pgregistry import BuildError, ConfigError, PgregistryError, PlanMismatch, PluginError
from pgregistry.errors import Problems, format_ranks

CLASSES = [PgregistryError, ConfigError, PluginError, PlanMismatch, BuildError]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_has_fields_for_programs_and_keeps_them_when_it_is_copied(kind: type[PgregistryError]) -> None:
    error = kind("rank 5 is missing.", ranks=[5, 3], plugin="tensor")
    for one in (error, copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (type(one), str(one), one.ranks, one.plugin) == (kind, "rank 5 is missing.", (3, 5), "tensor")
        assert one.problems == (one,)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_traceback_shows_the_public_name(kind: type[PgregistryError]) -> None:
    assert traceback.format_exception_only(kind("no.")) == [f"pgregistry.{kind.__name__}: no.\n"]


def test_several_problems_are_one_error_that_keeps_each() -> None:
    problems = Problems()
    problems.add(PluginError("axes nest in a cycle.", plugin="ring"))
    problems.add(PluginError("no groups.", plugin="ring", ranks=[1]))
    with pytest.raises(PluginError) as several:
        problems.raise_any()
    problems.add(ConfigError("tensor = 3.", ranks=[0]))
    problems.add(several.value)
    with pytest.raises(ConfigError) as all_of_them:
        problems.raise_any()
    error = pickle.loads(pickle.dumps(several.value))
    assert (error.ranks, error.plugin, [str(one) for one in error.problems]) == (
        (1,),
        "ring",
        ["axes nest in a cycle.", "no groups."],
    )
    assert (all_of_them.value.ranks, all_of_them.value.plugin) == ((0, 1), None)
    kinds = [type(one).__name__ for one in all_of_them.value.problems]
    assert kinds == ["PluginError", "PluginError", "ConfigError", "PluginError", "PluginError"]


def test_one_problem_is_raised_as_it_is() -> None:
    problems, error = Problems(), ConfigError("tensor = 3.")
    problems.add(error)
    problems.add(ConfigError("tensor = 3."))
    with pytest.raises(ConfigError) as raised:
        problems.raise_any()
    assert raised.value is error


@pytest.mark.parametrize(("ranks", "text"), [([], "ranks "), ([4], "rank 4"), ([7, 1, 2, 3], "ranks 1-3, 7")])
def test_ranks_are_written_as_ranges(ranks: list[int], text: str) -> None:
    assert format_ranks(ranks) == text
