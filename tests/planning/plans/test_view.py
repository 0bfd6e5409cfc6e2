"""What people see of a plan: the table, the rows of letters, HTML, and the short repr."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

import pgregistry
from pgregistry import Mode, Plan
from pgregistry.cli import run

ENDS = Mode("ends", over="pipe", at=(0, -1))


def example() -> Plan:
    return pgregistry.plan(8, pipe=4, only=["data", "pipe"], extra=[ENDS])


def test_print_shows_the_table_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan 16 tensor=2 pipe=2 --only data,pipe,tensor".split()) == 0
    shown = capsys.readouterr().out.replace("command line", "keyword")
    assert f"{pgregistry.plan(16, tensor=2, pipe=2, only=['data', 'pipe', 'tensor'])}\n" == shown


def test_ranks_with_one_letter_are_one_group_and_a_dot_is_in_none() -> None:
    assert example().picture() == (
        "rank  0  1  2  3  4  5  6  7\n"
        "data  a  b  c  d  a  b  c  d\n"
        "pipe  a  a  a  a  b  b  b  b\n"
        "ends  a  .  .  a  b  .  .  b"
    )


def test_a_picture_of_some_ranks_has_them_in_their_order() -> None:
    plan = pgregistry.plan(8, within=[4, 6, 1, 3], tensor=2, only=["data", "tensor"])
    assert plan.picture().splitlines()[0].split() == ["rank", "4", "6", "1", "3"]
    assert plan.picture().splitlines()[2].split() == ["tensor", "b", "b", "a", "a"]


def test_letters_are_those_of_brute_force_beyond_one_alphabet() -> None:
    plan = pgregistry.plan(120, tensor=2, pipe=3)
    rows = [line.split() for line in plan.picture().splitlines()]
    assert [name for name, *_ in rows] == ["rank", *plan.modes]
    for name, *letters in rows[1:]:
        found = {letter: [rank for rank in range(120) if letters[rank] == letter] for letter in letters}
        assert sorted(map(tuple, found.values())) == sorted(plan[name].groups), name


@pytest.mark.parametrize("world_size", [256, 257, 1 << 40])
def test_the_picture_of_a_large_world_is_its_beginning(world_size: int) -> None:
    lines = pgregistry.plan(world_size, tensor={"size": 1}).picture().splitlines()
    assert lines[0].split()[-1] == "255"
    assert (lines[-1] == f"These are the first 256 of {world_size} ranks.") == (world_size > 256)


def test_a_notebook_shows_every_cell_as_html() -> None:
    html = example()._repr_html_()
    cells = [unescape(cell) for cell in re.findall("<td>(.*?)</td>", html)]
    assert cells == [
        *("data", "2 (what is left)", "pipe", "4 (keyword)"),
        *("data", "data", "4 × 2", "0 4", "data"),
        *("pipe", "pipe", "2 × 4", "0 1 2 3", "pipe"),
        *("ends", "pipe at 0, -1", "2 × 2", "0 3", "extra"),
    ]
    assert example().fingerprint in html


def test_the_repr_is_one_short_line() -> None:
    assert repr(example()) == "<Plan of 8 ranks = data 2 × pipe 4, outermost first: data, pipe, ends>"


@pytest.mark.parametrize(
    ("known", "columns"),
    [
        ({}, {}),
        ({"ranks_per_host": 4}, {"inside host": "0", "across": "2"}),
        (
            {"ranks_per_host": 4, "hosts_per_domain": 2},
            {"inside host": "0", "inside domain": "2", "across": "0"},
        ),
    ],
    ids=["nothing", "hosts", "domains"],
)
def test_the_table_counts_groups_inside_what_is_known_of_hosts(known: dict[str, int], columns: dict[str, str]) -> None:
    plan = pgregistry.plan(8, only=["data", "tensor"], tensor=2, **known)
    lines = [re.split(" {2,}", line) for line in str(plan).splitlines()]
    head = next(line for line in lines if line[0] == "mode")
    data = next(line for line in lines if line[:2] == ["data", "data"])
    shown = dict(zip(head, data, strict=True))
    assert {name: shown[name] for name in shown if name.startswith(("inside", "across"))} == columns


def test_the_document_has_the_counts_of_the_table() -> None:
    plan = pgregistry.plan(8, only=["data"], ranks_per_host=4)
    assert json.loads(plan.to_json())["modes"][0]["reach"] == {"host": 0, "domain": None, "across": 1}
