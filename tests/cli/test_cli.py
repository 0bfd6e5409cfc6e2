"""The command line: what it prints where, and its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
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


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("plan 16 tensor=3", 1, "ConfigError: tensor = 3 does not divide world size 16.\n"),
        ("plan 0", 1, "ConfigError: world_size = 0 must be a whole number from 1 to 1099511627776.\n"),
        ("plan 8 tensor=2 tensor=4", 1, "ConfigError: 'tensor' is given twice (command line): 2 and 4. Remove one.\n"),
        ("plan 8 tensor=2.5", 1, "ConfigError: tensor = 2.5 (command line) must be a whole number"),
        ("plan 8 tensor=many", 1, "ConfigError: tensor = 'many' (command line) must be a whole number"),
        (
            "plan 8 timeout=3",
            1,
            "ConfigError: 'timeout' (command line) cannot be a size: plan() and init() have",
        ),
        ("plan 8 --rank 8", 1, "ConfigError: rank: 8 is out of range (command line): the ranks are 0 to 7.\n"),
        (
            "plan 8 --mode tenser",
            1,
            "ConfigError: mode: there is no mode 'tenser' (command line). Did you mean 'tensor'?\n",
        ),
        ("plan 8 --disable tenser", 1, "ConfigError: disable: no plugin is called 'tenser' (command line). Did"),
        ("plan 8 --only tenser", 1, "ConfigError: only: no plugin is called 'tenser' (command line). Did you"),
        (
            "plan 8 --order data,pipes tensor=2",
            1,
            "ConfigError: order: 'pipes' is not an axis (command line). Did you mean 'pipe'?",
        ),
        ("plan 8 --config nowhere.toml", 1, "ConfigError: The configuration nowhere.toml cannot be read: No such file"),
        ("plan 8 --ranks-per-host few", 1, "ConfigError: ranks_per_host = 'few' (command line) must be a whole"),
        ("plan 8 --require nothing-like-it>=1", 1, "ConfigError: require: 'nothing-like-it>=1' (command line)"),
        ("smoke --nproc 4 tensor=3", 1, "ConfigError: tensor = 3 does not divide world size 4.\n"),
        ("plan", 2, "WORLD_SIZE is missing, and the environment does not set it."),
        ("plan eight", 2, "'eight' is neither a world size nor NAME=SIZE."),
        ("plan 8 tensor", 2, "'tensor' (command line) must have the form NAME=SIZE, as in tensor=2."),
        ("plan 8 --rank five", 2, "'five' is not a valid integer."),
        ("plan 8 --colour", 2, "No such option '--colour'"),
        ("plans 8", 2, "No such command 'plans'."),
        ("smoke tensor=2", 2, "Add --nproc N, or start this command with torchrun."),
        ("smoke 8", 2, "smoke takes its world size from --nproc or the launcher, not from 8."),
        ("smoke --nproc 0", 2, "0 is not in the range x>=1."),
    ],
)
def test_what_is_wrong_is_said_on_stderr_without_a_traceback(
    line: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == status
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert "Traceback" not in err


def test_all_problems_of_a_run_are_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan 8 tensr=2 pipe=0 --disable nettst --only dat".split()) == 1
    assert capsys.readouterr().err.startswith("ConfigError: 4 problems:\n- pipe = 0 (command line) must be a whole")


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


def test_an_empty_option_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "4"]) == 0
    said = capsys.readouterr()
    empty = [
        word for option in ("only", "config", "order", "enable", "disable", "require") for word in (f"--{option}", "")
    ]
    assert run(["plan", "4", *empty]) == 0
    assert capsys.readouterr() == said
    assert run(["plugins"]) == 0
    said = capsys.readouterr()
    assert run(["plugins", "--only", "", "--config", "", "--enable", "", "--disable", ""]) == 0
    assert capsys.readouterr() == said


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["plan", "1099511627777"],
            1,
            "ConfigError: world_size = 1099511627777 must be a whole number",
        ),
        (["plan", "9" * 31], 2, f"'{'9' * 30}' is neither a world size nor NAME=SIZE."),
        (["plan", DIGITS], 2, f"'{'9' * 30}' is neither a world size nor NAME=SIZE."),
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
        (["plan", "8", "--rank", DIGITS], 2, f"'{DIGITS}' is not a valid integer."),
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


def test_a_mode_of_a_million_ranks_is_listed_and_one_more_is_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(1 << 20), "--mode", "dummy", "--json"]) == 0
    (mode,) = json.loads(capsys.readouterr().out)["modes"]
    assert len(mode["groups"]) == 1 << 20
    assert run(["plan", str((1 << 20) + 1), "--mode", "dummy"]) == 1


def test_plugins_lists_what_is_on_and_why_not(capsys: pytest.CaptureFixture[str], distribution: Any) -> None:
    broken = {"pgregistry_broken.py": "raise RuntimeError('out of order')"}
    distribution("pgregistry-broken", {"broken": "pgregistry_broken"}, broken)
    distribution("pgregistry-later", {"later": "pgregistry_later"}, {"pgregistry_later.py": ""}, optional=True)
    assert run(["plugins", "--json", "--disable", "tensor,model"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["data"] == {
        "name": "data",
        "modes": ["data"],
        "sizes": {"data": "REST"},
        "distribution": "pgregistry",
        "version": pgregistry_version(),
        "status": "active",
        "reason": None,
    }
    assert (rows["tensor"]["status"], rows["tensor"]["modes"]) == ("disabled", None)
    assert rows["tensor"]["reason"] == "disabled (command line)"
    assert rows["later"]["reason"] == "off until enabled (entry point group pgregistry.optional)"
    assert rows["broken"]["status"] == "failed"
    assert "RuntimeError: out of order" in rows["broken"]["reason"]
    assert run(["plugins"]) == 0
    assert "broken    —" in capsys.readouterr().out


def pgregistry_version() -> str:
    from importlib.metadata import version

    return version("pgregistry")


def test_plugins_exits_0_whatever_it_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "--json", "--disable", "nobody"]) == 0
    out, err = capsys.readouterr()
    assert {row["name"]: row["status"] for row in json.loads(out)}.items() >= dict.fromkeys(EIGHT, "active").items()
    assert "no plugin is called 'nobody'" in err


HELLO = """
import click
from pgregistry import hookimpl

@hookimpl
def pgregistry_commands(cli):
    @cli.command()
    @click.argument("who")
    def hello(who):
        "Greet."
        click.echo(f"hello {who}")
"""
GREEDY = """
import click
from pgregistry import hookimpl

@hookimpl
def pgregistry_commands(cli):
    @cli.command()
    def plan():
        click.echo("mine")
"""
FAILING = """
from pgregistry import hookimpl

@hookimpl
def pgregistry_commands(cli):
    raise RuntimeError("no network")
"""


def test_a_plugin_adds_commands(capsys: pytest.CaptureFixture[str], distribution: Any) -> None:
    distribution("pgregistry-hello", {"hello": "pgregistry_hello"}, {"pgregistry_hello.py": HELLO})
    assert run(["hello", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert run(["--help"]) == 0
    assert "hello    Greet." in capsys.readouterr().out


def test_a_plugin_that_fails_to_add_a_command_is_one_line_of_help(
    capsys: pytest.CaptureFixture[str], distribution: Any
) -> None:
    distribution("pgregistry-failing", {"failing": "pgregistry_failing"}, {"pgregistry_failing.py": FAILING})
    assert run(["--help"]) == 0
    said = (
        "Not available: plugin 'failing', pgregistry-failing 0.1 raised RuntimeError in pgregistry_commands: no network"
    )
    assert said in capsys.readouterr().out


def test_a_plugin_cannot_replace_a_command(capsys: pytest.CaptureFixture[str], distribution: Any) -> None:
    distribution("pgregistry-greedy", {"greedy": "pgregistry_greedy"}, {"pgregistry_greedy.py": GREEDY})
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "plugin 'greedy', pgregistry-greedy 0.1 has a command 'plan', but that name is taken." in out
    assert run("plan 4 --json".split()) == 0
    assert json.loads(capsys.readouterr().out)["world_size"] == 4


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", **environment}
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=90, env=env)


def names(table: str) -> list[str]:
    lines = table.splitlines()
    return [line.split()[0] for line in lines[1 : lines.index("")]]


def test_smoke_starts_its_own_processes_and_proves_every_group() -> None:
    done = command("pgregistry", "smoke", "--nproc", "4", "tensor=2", "nettest=3", "--only", ",".join(EIGHT))
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == list(pgregistry.plan(4, tensor=2, nettest=3, only=EIGHT).modes)
    assert "4 ranks: every group proved; 10 process groups built for 19 groups" in done.stdout
    assert "Traceback" not in done.stderr


def test_smoke_under_torchrun_starts_nothing_and_does_the_same() -> None:
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pgregistry", "smoke"]
    done = command(*torchrun, "tensor=2", "--backend", "gloo")
    assert done.returncode == 0, done.stderr
    assert names(done.stdout) == list(pgregistry.plan(2, tensor=2).modes)


def test_smoke_uses_a_plugin_enabled_for_this_run(distribution: Any) -> None:
    source = "from pgregistry import *\n@hookimpl\ndef pgregistry_modes():\n    yield Mode('pairs', over=WORLD)\n"
    folder = distribution(
        "pgregistry-pairs", {"pairs": "pgregistry_pairs"}, {"pgregistry_pairs.py": source}, optional=True
    )
    words = ("pgregistry", "smoke", "--nproc", "2")
    path = {"PYTHONPATH": str(folder)}
    assert "pairs" not in names(command(*words, **path).stdout)
    assert "pairs" in names(command(*words, "--enable", "pairs", **path).stdout)


def test_smoke_says_why_it_failed_and_nothing_else(distribution: Any) -> None:
    source = (
        "from pgregistry import *\n@hookimpl\ndef pgregistry_ready(context):\n"
        "    if context.rank == 1:\n        raise RuntimeError('no disk')\n"
    )
    folder = distribution(
        "pgregistry-diskless", {"diskless": "pgregistry_diskless"}, {"pgregistry_diskless.py": source}
    )
    done = command("pgregistry", "smoke", "--nproc", "2", PYTHONPATH=str(folder))
    assert done.returncode == 1
    assert "plugin 'diskless', pgregistry-diskless 0.1 raised RuntimeError in pgregistry_ready: no disk" in done.stderr
    assert "Traceback" not in done.stderr


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
