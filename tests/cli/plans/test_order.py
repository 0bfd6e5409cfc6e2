"""`pgregistry order`: the best nesting order first, and what to paste."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

import pgregistry
from pgregistry.cli import run
from pgregistry.cli.plans import order

WORDS = ["order", "16", "tensor=2", "pipe=2", "--only", "data,pipe,tensor"]
LEGEND = (
    "Groups inside host / inside domain / across, for each mode that leaves a host in some order. "
    "* is the order at hand."
)
LEVELS = ["--ranks-per-host", "4", "--hosts-per-domain", "2"]


def test_the_table_has_each_order_the_best_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*WORDS, *LEVELS, "--weight", "tensor=10"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "    cost   order, outermost first    data    pipe   tensor",
        "*      2   data,pipe,tensor         0/0/4   8/0/0    8/0/0",
        "       2   data,tensor,pipe         0/0/4   8/0/0    8/0/0",
        "       3   pipe,data,tensor         0/4/0   0/0/8    8/0/0",
        "      12   pipe,tensor,data         4/0/0   0/0/8    0/8/0",
        "      21   tensor,data,pipe         0/4/0   8/0/0    0/0/8",
        "      21   tensor,pipe,data         4/0/0   0/8/0    0/0/8",
        "",
        LEGEND,
        "Weights: data 1, pipe 1, tensor 10.",
        "",
        "The best, to paste: --order data,pipe,tensor",
    ]


@pytest.mark.parametrize(
    "words", ["16 tensor=4 pipe=2 --ranks-per-host 4", "64 tensor=8 --ranks-per-host 8", "16 --ranks-per-host 4"]
)
def test_default_weights_are_printed_and_keep_the_innermost_axis_inside_hosts(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["order", *words.split()]) == 0
    *_, weights, _, best = capsys.readouterr().out.splitlines()
    assert weights.startswith("Weights: data 1, ")
    assert weights.endswith(", by how deep plugins nest their axes; --weight M=N gives others.")
    assert best.startswith("The best, to paste: --order data")
    assert best.endswith("tensor") == ("tensor" in words)


def test_what_takes_more_than_a_moment_is_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*WORDS, *LEVELS]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(order, "SLOW", 3)
    assert run([*WORDS, *LEVELS]) == 0
    assert capsys.readouterr().err == "Comparing 6 orders of data, pipe, tensor …\n"


def test_json_has_the_same_and_the_order_pasted_has_these_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*WORDS, *LEVELS, "--weight", "data=100", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    best = document["orders"][0]
    assert document["weights"] == {"data": 100, "pipe": 1, "tensor": 1}
    assert (best["order"][-1], len(document["orders"])) == ("data", 6)
    assert run(["plan", *WORDS[1:], *LEVELS, "--order", ",".join(best["order"]), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    for mode in planned["modes"]:
        assert best["modes"][mode["name"]] == {"groups": mode["group_count"], **mode["reach"]}


def test_domains_that_are_not_neighbours_are_brought_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "domains"
    file.write_text("n1 a\nn2 b\nn3 a\nn4 b\n")
    assert run([*WORDS, "--domains", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    within = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15]
    assert (document["within"], document["ranks_per_host"], document["hosts_per_domain"]) == (within, 4, 2)
    for one in document["orders"]:
        plan = pgregistry.plan(16, tensor=2, pipe=2, only=WORDS[-1], order=one["order"], within=within)
        domain = {rank: rank // 4 % 2 for rank in range(16)}
        for name, counts in one["modes"].items():
            groups = [{domain[rank] for rank in group} for group in plan[name].groups]
            assert counts["across"] == sum(len(group) > 1 for group in groups)
    assert run([*WORDS, "--domains", str(file)]) == 0
    assert capsys.readouterr().out.endswith("To bring them together: --within 0-3,8-11,4-7,12-15\n")


def test_what_is_pasted_is_what_a_mode_that_uses_domains_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "domains").write_text("n1 a\nn2 b\nn3 a\nn4 b\n")
    (tmp_path / "lab.py").write_text(
        "from pgregistry import DOMAIN, WORLD, Mode, Split, hookimpl\n"
        "@hookimpl\ndef pgregistry_modes():\n    yield Mode('rack', over=Split(WORLD, inner='rack', size=DOMAIN))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["8", "tensor=2", "--only", "data,tensor,lab", "--plugin", "lab"]
    assert run(["order", *words, "--domains", str(tmp_path / "domains")]) == 0
    pasted = shlex.split(capsys.readouterr().out.rpartition("together: ")[2])
    assert pasted == ["--within", "0-1,4-5,2-3,6-7", "--hosts", "0-1;4-5;2-3;6-7", "--hosts-per-domain", "2"]
    assert run(["plan", *words, *pasted, "--json"]) == 0
    (rack,) = [mode for mode in json.loads(capsys.readouterr().out)["modes"] if mode["name"] == "rack"]
    assert rack["groups"] == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_domains_of_neighbours_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "domains"
    file.write_text("n1 a\nn2 a\nn3 b\nn4 b\n")
    assert run([*WORDS, "--domains", str(file)]) == 0
    found = capsys.readouterr().out
    assert run([*WORDS, *LEVELS]) == 0
    assert found == capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([*WORDS], 1, "ConfigError: An order keeps groups inside hosts, so ranks per host must be known"),
        ([*WORDS, *LEVELS, "--weight", "tensr=2"], 1, "weight: there is no mode 'tensr'. Did you mean 'tensor'?"),
        ([*WORDS, *LEVELS, "--weight", "tensor=-1"], 1, "weight of tensor = -1.0 must be a number from 0 on."),
        ([*WORDS, *LEVELS, "--weight", "tensor"], 2, "'tensor' must be a mode and a number, as in tensor=10."),
        (
            [*WORDS, *LEVELS, "--weight", "tensor=2", "--weight", "tensor=3"],
            1,
            "The weight of 'tensor' is given twice (command line): 2 and 3. Remove one.",
        ),
        (
            [*WORDS, "--domains", "FILE", "--config", "run.toml"],
            1,
            "--domains FILE and hosts (run.toml) must not both be given. Remove one.",
        ),
        ([*WORDS, *LEVELS, "--domains", "FILE"], 1, "--domains FILE and --hosts-per-domain must not both be given."),
        ([*WORDS, "--domains", "FILE", "--ranks-per-host", "2"], 1, "every host of the 16 ranks, 2 on each (command"),
        (["order", "10", "--domains", "FILE"], 1, "every host of the 10 ranks, but it names 4: n1, n2, n3, …"),
        ([*WORDS, "--domains", "TWICE"], 1, "TWICE: host 'n1' must be named once, but it is in a and in b."),
        ([*WORDS, "--domains", "UNEQUAL"], 1, "UNEQUAL: domains must have equally many hosts, but a has 3, b has 1."),
        ([*WORDS, "--domains", "SLURM"], 1, "SLURM must have every host of the job, but n4 (SLURM_JOB_NODELIST) is on"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "domains"
    file.write_text("n1 a\nn2 a\nn3 b\nn4 b\n")
    (tmp_path / "TWICE").write_text("n1 a\nn2 a\nn1 b\nn4 b\n")
    (tmp_path / "UNEQUAL").write_text("n1 a\nn2 a\nn3 a\nn4 b\n")
    (tmp_path / "run.toml").write_text('hosts = "0-7;8-15"\n')
    (tmp_path / "SLURM").write_text("SwitchName=s1 Level=0 Nodes=n[1-3]\n")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-4]")
    monkeypatch.chdir(tmp_path)
    assert run([str(file) if word == "FILE" else word for word in words]) == status
    printed = capsys.readouterr()
    assert said.replace("FILE", str(file)) in printed.err
    assert len(printed.err.splitlines()) == 1 or status == 2  # click shows its usage
    assert printed.out == ""
