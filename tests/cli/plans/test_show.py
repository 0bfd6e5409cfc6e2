"""`pgregistry show`: a plan as letters, as a page and as a still picture, and what it answers to bad input."""

from __future__ import annotations

import json
import os
import re
import threading
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command import command
from origin import EIGHT

import pgregistry
from pgregistry import Mode, cli
from pgregistry.planning.plans.drawing.map import html_page
from pgregistry.planning.plans.drawing.rows import still_picture

WORDS = "16 tensor=2 pipe=2 --only data,pipe,tensor"


def shown(capsys: pytest.CaptureFixture[str], words: str, status: int = 0) -> str:
    """Return what `show` prints: its result, or the text of its error."""
    assert cli.run(["show", *words.split()]) == status
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if " in a browser" not in line]
    assert (not errors) == (status == 0)
    return (printed.err if status else printed.out).removesuffix("\n")


def data_of(page: str) -> dict[str, object]:
    """Return what the script of a page knows."""
    (text,) = re.findall(r'<script type="application/json" id="plan">(.*?)</script>', page, re.DOTALL)
    data: dict[str, object] = json.loads(text)
    return data


def test_without_a_file_it_prints_the_rows_of_letters(capsys: pytest.CaptureFixture[str]) -> None:
    plan = pgregistry.plan(16, tensor=2, pipe=2, only=["data", "pipe", "tensor"])
    assert shown(capsys, WORDS) == plan.picture()


def test_a_rank_or_a_mode_is_all_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, f"{WORDS} --rank 5").splitlines()
    assert lines[1:] == [
        "data    .  b  .  .  .  b  .  .  .  b  .  .  .  b  .  .",
        "pipe    .  .  .  .  .  d  .  d  .  .  .  .  .  .  .  .",
        "tensor  .  .  .  .  c  c  .  .  .  .  .  .  .  .  .  .",
    ]
    assert [line.split()[0] for line in shown(capsys, f"{WORDS} --mode pipe").splitlines()] == ["rank", "pipe"]


def test_of_a_large_world_the_part_around_a_rank_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "1048576 tensor=8 --only data,tensor --rank 1000000").splitlines()
    ranks = lines[0].split()[1:]
    assert (len(ranks), "1000000" in ranks) == (256, True)
    assert lines[-1] == "These are 256 of 1048576 ranks."


def test_a_document_is_shown_as_the_plan_that_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = pgregistry.plan(8, within=[6, 0, 4, 2], tensor=2, ranks_per_host=4)
    file = tmp_path / "plan.json"
    file.write_text(plan.to_json(), encoding="utf-8")
    assert shown(capsys, f"--plan {file}") == plan.picture()
    assert shown(capsys, f"--plan {file} --html {tmp_path}/a.html --svg {tmp_path}/a.svg") == ""
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == html_page(plan)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == still_picture(plan)


def test_a_file_that_is_written_is_named_on_stderr_with_how_to_open_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run([*"show 8 --html plan.html --svg".split(), "my plan.svg"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"plan.html: open {tmp_path.resolve().as_uri()}/plan.html in a browser",
        f"my plan.svg: open {tmp_path.resolve().as_uri()}/my%20plan.svg in a browser",
    ]
    assert cli.run(["show", "8", "--svg", os.devnull]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        ("2097152 --html FILE", 1, "world_size = 2097152 must be at most 1048576 for a picture. `pgregistry plan` ans"),
        ("8 --html no/such/folder", 1, "ConfigError: no/such/folder cannot be written: No such file or directory."),
        ("8 --html=", 1, "ConfigError: A file to write must have a name, but '' was given."),
        ("8 --html a --svg ./a", 2, "--html and --svg must name two files, but both name ./a."),
        ("8 --plan=", 2, "What shapes a plan comes with --plan ''. Remove 8."),
        ("--plan=", 1, "ConfigError: --plan '' cannot be read: Is a directory."),
        ("8 --html .", 1, "ConfigError: . cannot be written: Is a directory."),
        ("8 --mode tensr", 1, "ConfigError: mode: there is no mode 'tensr' (command line). Did you mean 'tensor'?"),
        ("8 --rank 8", 1, "ConfigError: rank: 8 is out of range (command line): the ranks are 0 to 7."),
        ("--plan no.json", 1, "ConfigError: --plan no.json cannot be read: No such file or directory."),
        ("--plan PLAN --rank 8", 1, "ConfigError: rank: 8 is out of range (command line): the ranks are 0 to 7."),
        ("--plan PLAN --mode m", 1, "ConfigError: The plan has no mode 'm'. There are data"),
        ("--plan CHANGED", 1, "must hold the JSON of a plan. This plan was changed after it was written"),
        ("--plan PLAN 8 tensor=2", 2, "What shapes a plan comes with --plan PLAN. Remove 8 tensor=2."),
        ("--plan PLAN --only data --cpu", 2, "What shapes a plan comes with --plan PLAN. Remove --only --cpu."),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: str,
    status: int,
    error: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = pgregistry.plan(8, tensor=2).to_json()
    Path("PLAN").write_text(text, encoding="utf-8")
    Path("CHANGED").write_text(text.replace('"group_count": 4', '"group_count": 5'), encoding="utf-8")
    before = sorted(os.listdir())
    printed = shown(capsys, words, status)
    assert error in printed
    assert len(printed.splitlines()) == (1 if status == 1 else 4)
    assert sorted(os.listdir()) == before


def test_what_cannot_be_written_leaves_what_was_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.html"
    file.write_text("what was there", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    text = shown(capsys, f"8 --html {file}", 1)
    assert text == f"ConfigError: {file} cannot be written: No space left on device."
    assert [one.name for one in tmp_path.iterdir()] == ["a.html"]
    assert file.read_text(encoding="utf-8") == "what was there"


def test_a_link_stays_a_link_and_a_pipe_a_pipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "link.svg").symlink_to(tmp_path / "there.svg")
    shown(capsys, f"8 --svg {tmp_path}/link.svg")
    assert (tmp_path / "link.svg").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text(encoding="utf-8")))
    reader.start()
    shown(capsys, f"8 --svg {tmp_path}/pipe")
    reader.join(timeout=60)
    assert read == [(tmp_path / "there.svg").read_text(encoding="utf-8")]
    assert command("pgregistry", "show", "8", "--svg", "/dev/stdout").stdout == read[0]


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"ranks_per_host": 4},
        {"ranks_per_host": 4, "hosts_per_domain": 2},
        {"hosts": [[0, 2], [1, 3, 4, 5, 6, 7], [*range(8, 16)]]},
        {"within": [9, 3, 1, 15], "pipe": 1, "ranks_per_host": 4},
    ],
    ids=str,
)
def test_the_page_knows_each_group_and_which_of_them_cross(keywords: dict[str, object]) -> None:
    ends = Mode("ends", over="tensor", at=(0,))
    plan = pgregistry.plan(16, extra=[ends], only=EIGHT, **{"tensor": 2, "pipe": 2, **keywords})
    data = data_of(html_page(plan))
    domains = [[host["ranks"] for host in domain["hosts"]] for domain in data["domains"]]
    assert sorted(rank for hosts in domains for ranks in hosts for rank in ranks) == [*range(16)]
    for mode in data["modes"]:
        groups = plan[mode["name"]].groups
        assert sorted((index, tuple(ranks)) for index, ranks in mode["groups"]) == list(enumerate(groups))
        reach = plan.reach(mode["name"])
        crossing = (len(mode["cut"]["host"]), len(mode["cut"]["domain"]))
        assert crossing == ((0, 0) if reach is None else (reach.domain or 0, reach.across))
    assert data["out"] == ([] if plan.ranks is None else sorted({*range(16)} - {*plan.ranks}))


def test_a_page_of_a_large_world_draws_whole_domains_and_the_neighbours_of_all_that_it_draws() -> None:
    plan = pgregistry.plan(
        10_240, tensor=8, pipe=4, ranks_per_host=8, hosts_per_domain=9, only=["data", "tensor", "pipe"]
    )
    data = data_of(html_page(plan, rank=8000))
    hosts = [host["ranks"] for domain in data["domains"] for host in domain["hosts"]]
    drawn = [rank for ranks in hosts for rank in ranks]
    assert (8000 in drawn, len(drawn) <= 4096, drawn[0] % 72, drawn[-1] % 72) == (True, True, 0, 71)
    for mode in data["modes"]:
        seen = set()
        for index, ranks, *rest in mode["groups"]:
            group = plan[mode["name"]].groups[index]
            size, places, before, after = rest or (len(group), range(len(group)), (*group[-1:], *group[:-1]), None)
            assert size == len(group)
            for at, (rank, place) in enumerate(zip(ranks, places, strict=True)):
                assert (group[place], group[place - 1]) == (rank, before[at])
                assert after is None or after[at] == group[(place + 1) % size]
            seen.update(ranks)
        assert seen == {*drawn}


def test_no_text_of_a_plugin_ends_the_script_of_a_page() -> None:
    evil = "</script><b>&"
    page = html_page(pgregistry.plan(4, extra=[Mode(evil, over="tensor")]))
    assert evil not in page
    assert escape(evil) in page
    assert evil in [mode["name"] for mode in data_of(page)["modes"]]


def test_a_still_picture_has_a_cell_for_each_rank_of_each_mode() -> None:
    plan = pgregistry.plan(16, tensor=2, pipe=2, ranks_per_host=4, hosts_per_domain=2, only=["data", "pipe", "tensor"])
    root = ElementTree.fromstring(still_picture(plan))
    cells = [one.get("class") for one in root.iter("{http://www.w3.org/2000/svg}rect")]
    indices = [plan[name].groups.index_of(rank) for name in plan for rank in range(16)]
    assert cells == [f"cell c{index % 8}" for index in indices if index is not None]
    words = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words[1:7] == ["domain 0", "domain 1", "host 0", "host 1", "host 2", "host 3"]


def test_a_notebook_shows_the_picture_and_the_table() -> None:
    plan = pgregistry.plan(8, tensor=2)
    assert plan._repr_html_().startswith(still_picture(plan))
    assert "<table>" in plan._repr_html_()
