"""Ranks and hosts as text, and hosts from every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgregistry.errors import ConfigError, Problems
from pgregistry.settings.merge import ConfigValue, read_settings
from pgregistry.settings.ranks import read_ranks

HOSTS = ((0, 1, 2), (3,))


@pytest.mark.parametrize(
    ("text", "ranks"),
    [("0-3,8", [0, 1, 2, 3, 8]), ("3 1", [3, 1]), (" 2, ", [2]), ("5-5", [5]), ("15", [15])],
)
def test_ranks_are_numbers_and_runs_in_the_order_given(text: str, ranks: list[int]) -> None:
    assert read_ranks(text, 16) == ranks


@pytest.mark.parametrize("text", ["", "3-1", "a", "-1", "1-", "0-16", "²", "0--3", "0-99999999999999", "1.5"])
def test_a_text_that_is_no_list_of_ranks_is_none(text: str) -> None:
    assert read_ranks(text, 16) is None


def test_a_run_that_fills_the_memory_is_not_read() -> None:
    assert read_ranks("0-999999999999", 1 << 40) is None


def hosts_of(**sources: Any) -> ConfigValue[tuple[tuple[int, ...], ...]] | None:
    problems = Problems()
    settings = read_settings(problems, world_size=4, **({"environ": {}} | sources))
    problems.raise_any()
    return settings.hosts


@pytest.mark.parametrize("given", [[[0, 1, 2], [3]], iter([range(3), (3,)]), "0-2;3", "[[0, 1, 2], [3]]", "0 1 2 ; 3;"])
def test_hosts_are_a_list_of_ranks_each_or_text(given: Any) -> None:
    assert hosts_of(keywords={"hosts": given}) == ConfigValue(HOSTS, "keyword")


def test_hosts_come_from_the_highest_source_that_gives_them(tmp_path: Path, toml: Any) -> None:
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps(HOSTS))
    config = toml("hosts = [[0, 1, 2], [3]]\nhosts_per_domain = 2\n")
    environ = {"PGREGISTRY_HOSTS": "0-2;3", "PGREGISTRY_CONFIG": config}
    assert hosts_of(environ={"PGREGISTRY_CONFIG": config}) == ConfigValue(HOSTS, config)
    assert hosts_of(environ=environ) == ConfigValue(HOSTS, "PGREGISTRY_HOSTS")
    assert hosts_of(environ=environ, command_line={"hosts": str(file)}) == ConfigValue(HOSTS, "command line")
    assert read_settings(Problems(), environ=environ).hosts_per_domain == ConfigValue(2, config)


@pytest.mark.parametrize(
    ("given", "shown", "why"),
    [
        ([[0, 1], [1, 2]], "[[0, 1], [1, 2]]", ""),
        ([[0, 4]], "[[0, 4]]", ""),
        ([], "[]", ""),
        ([[]], "[[]]", ""),
        ([0, 1], "[0, 1]", ""),
        (5, "5", ""),
        ([["a"]], "[['a']]", ""),
        ("0-2;;3", "'0-2;;3'", ""),
        ("0-9;3", "'0-9;3'", ""),
        ("nowhere.json", "'nowhere.json'", "; it cannot be read as a file: No such file or directory"),
        ("[[0,", "'[[0,'", "; it is not JSON: Expecting value: line 1 column 5 (char 4)"),
    ],
)
def test_what_is_no_list_of_hosts_is_refused(given: Any, shown: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hosts_of(keywords={"hosts": given})
    rule = f"a list of ranks for each host, each rank from 0 to 3 once{why}"
    assert str(caught.value) == f"hosts = {shown} (keyword) must be {rule}."
