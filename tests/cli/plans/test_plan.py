"""`pgregistry plan`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command import command
from origin import EIGHT

import pgregistry
from pgregistry.cli import run

PLAN = """\
16 ranks = data 4 × pipe 2 × tensor 2, outermost first
  data = 4 (what is left)
  nettest = 6 (command line)
  pipe = 2 (command line)
  tensor = 2 (command line)
  zero1 = 2 (command line)
  nettest.dedicated = true (plugin default)

mode      over              groups × ranks   rank 0 is with   plugin
data      data              4 × 4            0 4 8 12         data
dummy     each rank alone   16 × 1           0                dummy
global    world             1 × 16           0 1 2 3 4 … 15   global
nettest   nettest           2 × 6 + 1 × 4    0 1 2 3 4 5      nettest
pipe      pipe              8 × 2            0 2              pipe
tensor    tensor            8 × 2            0 1              tensor
model     pipe, tensor      4 × 4            0 1 2 3          model
zero1     zero1             8 × 2            0 4              zero1

fingerprint """


def stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


def test_plan_shows_every_mode_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "16", "tensor=2", "pipe=2", "zero1=2", "nettest=6", "--only", ",".join(EIGHT)]) == 0
    out, err = capsys.readouterr()
    fingerprint = pgregistry.plan(16, tensor=2, pipe=2, zero1=2, nettest=6, only=EIGHT).fingerprint
    assert (stripped(out), err) == (PLAN + fingerprint, "")


@pytest.mark.parametrize("command", ["plan", "order"])
@pytest.mark.parametrize(
    ("words", "warnings"),
    [
        ("--ranks-per-host 3", ["ranks_per_host = 3 does not divide 16 ranks: the last host has 1."]),
        (
            "--ranks-per-host 4 --hosts-per-domain 3",
            ["hosts_per_domain = 3 does not divide 4 hosts: the last domain has 1."],
        ),
        ("--ranks-per-host 4 --hosts-per-domain 2", []),
        ("--ranks-per-host 32", []),
        ("--hosts 0-8;9-15", []),
    ],
)
def test_a_last_host_or_domain_that_is_not_full_is_a_warning_in_text_alone(
    command: str, words: str, warnings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = [command, "16", "tensor=2", *words.split()]
    assert run(line) == 0
    found = [text for text in capsys.readouterr().out.splitlines() if text.startswith("warning: ")]
    assert found == [f"warning: {text}" for text in warnings]
    assert run([*line, "--json"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_plan_of_a_rank_and_of_a_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan 8 tensor=2 --mode tensor --rank 5".split()) == 0
    assert "tensor   tensor       2               1   4 5" in capsys.readouterr().out
    assert run("plan 8 tensor=2 --mode tensor".split()) == 0
    assert "\n0: 0 1\n1: 2 3\n2: 4 5\n3: 6 7\n" in capsys.readouterr().out


def test_plan_as_json_is_the_document_of_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan 8 tensor=2 --json".split()) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sizes"]["tensor"] == {"size": 2, "from": "command line"}
    assert pgregistry.Plan.from_json(json.dumps(document)).fingerprint == pgregistry.plan(8, tensor=2).fingerprint
    assert run("plan 8 tensor=2 --json --rank 5 --mode data".split()) == 0
    (mode,) = json.loads(capsys.readouterr().out)["modes"]
    assert (mode["group"], mode["rank_in_group"], mode["group_index"]) == ([1, 3, 5, 7], 2, 1)
    assert "groups" not in mode


def test_groups_are_left_out_above_4096_ranks_unless_a_mode_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run("plan 8192 --json".split())
    assert not any("groups" in mode for mode in json.loads(capsys.readouterr().out)["modes"])
    run("plan 8192 --json --mode nettest".split())
    (mode,) = json.loads(capsys.readouterr().out)["modes"]
    assert len(mode["groups"]) == 256


def test_the_world_size_comes_from_the_environment_where_it_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "12")
    assert run(["plan", "tensor=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["world_size"] == 12


def test_all_problems_of_a_run_are_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan 8 tensr=2 pipe=0 --disable nettst --only dat".split()) == 1
    assert capsys.readouterr().err.startswith("ConfigError: 4 problems:\n- disable: no plugin is called 'nettst'")


def test_a_mode_and_a_rank_that_are_not_there_are_said_with_all_else(capsys: pytest.CaptureFixture[str]) -> None:
    line = "plan 8 tensr=2 pipe=3 --mode tenser --rank 8 --disable nettst"
    assert run([*line.split(), "--only", ",".join(EIGHT)]) == 1
    assert capsys.readouterr().err == (
        "ConfigError: 5 problems:\n"
        "- disable: no plugin is called 'nettst' (command line). Did you mean 'nettest'?\n"
        "- There is no size 'tensr' (command line). Did you mean 'tensor'?\n"
        "- mode: there is no mode 'tenser' (command line). Did you mean 'tensor'?\n"
        "- rank: 8 is out of range (command line): the ranks are 0 to 7.\n"
        "- pipe = 3 does not divide world size 8.\n"
        "    pipe = 3 (command line)\n"
        "    data takes what is left\n"
        "    pipe could be 1, 2, 4 or 8.\n"
    )


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["plan", "1099511627777"],
            1,
            "ConfigError: world_size = 1099511627777 must be a whole number",
        ),
        (
            ["plan", "9" * 31],
            1,
            f"ConfigError: world_size = {'9' * 31} must be a whole number from 1 to 1099511627776.",
        ),
        (["plan", DIGITS], 1, f"ConfigError: world_size = {'9' * 39}… (5002 characters) must be a whole number"),
        (
            ["plan", "8", f"tensor={DIGITS}"],
            1,
            f"ConfigError: tensor = '{'9' * 39}… (5002 characters) (command line) must be a",
        ),
        (
            ["plan", "8", f"tensor={'[' * 5000}"],
            1,
            f"ConfigError: tensor = '{'[' * 39}… (5002 characters) (command line) must be a",
        ),
        (
            ["plan", "8", "--rank", DIGITS],
            2,
            f"Invalid value for '--rank': '{'9' * 39}… (5002 characters) must be a whole",
        ),
        (
            ["plan", "8", "--rank", "-1"],
            1,
            "ConfigError: rank: -1 is out of range (command line): the ranks are 0 to 7.",
        ),
        (["plan", "8", "--mode", ""], 1, "ConfigError: mode: there is no mode '' (command line)."),
    ],
    ids=["world", "31 digits", "digits", "size", "lists", "rank", "rank -1", "mode"],
)
def test_what_is_too_large_is_refused_without_a_traceback(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == status
    assert said in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("source", ["option", "launcher"])
def test_a_number_of_5000_digits_is_refused_wherever_it_stands(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if source == "option":
        assert run(["plan", "8", "--ranks-per-host", DIGITS]) == 1
    else:
        monkeypatch.setenv("WORLD_SIZE", DIGITS)
        assert run(["plan"]) == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("", 0, "data      data              2 × 549755813888    0 2 4 6 8 … 1099511627774   data"),
        ("--rank 5", 0, "data      data                  1               2   1 3 5 7 9 … 1099511627775"),
        ("--rank 5 --mode tensor", 0, "tensor   tensor       2               1   4 5"),
        ("--json", 0, '"group_count": 549755813888, "group_sizes": {"2": 549755813888}'),
        ("--json --rank 5 --mode tensor", 0, '"group": [4, 5], "rank_in_group": 1, "group_index": 2'),
        (
            "--json --rank 5",
            1,
            (
                "ConfigError: rank = 5 (command line): its group in mode 'data' has 549755813888 ranks, and JSON lists "
                "at most 1048576. Name a mode of smaller groups with --mode, or leave out --json or --rank."
            ),
        ),
        (
            "--mode tensor",
            1,
            (
                "ConfigError: mode = 'tensor' (command line): its 549755813888 groups have 1099511627776 ranks, and at "
                "most 1048576 are listed. Name a rank with --rank, or leave out --mode."
            ),
        ),
    ],
)
def test_the_largest_world_is_planned_at_once_in_bounded_memory(words: str, status: int, said: str) -> None:
    code = "import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 30, -1)); import sys, pgregistry.cli as c; "
    code += "sys.exit(c.run(['plan', str(1 << 40), 'tensor=2', *sys.argv[1:]]))"
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
    assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_a_mode_of_a_million_ranks_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(1 << 20), "--mode", "dummy", "--json"]) == 0
    (mode,) = json.loads(capsys.readouterr().out)["modes"]
    assert len(mode["groups"]) == 1 << 20


def test_a_mode_of_more_than_a_million_ranks_is_not_listed() -> None:
    assert run(["plan", str((1 << 20) + 1), "--mode", "dummy"]) == 1


def test_plan_answers_without_torch_and_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = "import sys, pgregistry.cli as c; c.run(['plan', '16', 'tensor=2']); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
    piped = f"{sys.executable} -m pgregistry plan 100000 --mode dummy 2>{tmp_path}/err | head -n 1"
    assert subprocess.run(piped, shell=True, capture_output=True, text=True, timeout=60).stdout.startswith(
        "100000 ranks"
    )
    assert (tmp_path / "err").read_text() == ""


def test_a_terminal_without_unicode_gets_a_table_all_the_same() -> None:
    done = command("pgregistry", "plan", "4", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tensor" in done.stdout
