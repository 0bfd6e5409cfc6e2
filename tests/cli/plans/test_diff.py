"""`pgregistry diff`: of files and of words, with the exit status of diff."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import pgregistry
from pgregistry.cli import run

ONLY = ["data", "pipe", "tensor"]
PLUGIN = """
from pgregistry import Axis, Mode, hookimpl


@hookimpl
def pgregistry_modes():
    yield Mode("lab", over=Axis("lab", inside="data", outside="tensor"))
"""


@pytest.fixture
def written(tmp_path: Path) -> str:
    file = tmp_path / "plan.json"
    file.write_text(pgregistry.plan(16, tensor=2, only=ONLY).to_json(), encoding="utf-8")
    return str(file)


def test_equal_plans_have_no_difference_wherever_they_come_from(
    written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = pgregistry.plan(16, tensor=2, only=ONLY).fingerprint
    assert run(["diff", written, "16 tensor=2 --only data,pipe,tensor"]) == 0
    assert capsys.readouterr().out == f"No difference: {fingerprint}\n"


def test_what_differs_is_listed_causes_first_with_exit_status_1(
    written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diff", written, "16 tensor=2 pipe=2 --only 'data pipe tensor'"]) == 1
    assert capsys.readouterr().out == (
        f"here: {written}\n"
        "there: 16 tensor=2 pipe=2 --only 'data pipe tensor'\n"
        "size pipe: 1 (plugin default) here, 2 (command line) there\n"
        "size data: 8 (what is left) here, 4 (what is left) there\n"
        "group 0 of mode data: (0, 2, 4, 6, 8, 10, 12, 14) here, (0, 4, 8, 12) there\n"
        "group 0 of mode pipe: (0,) here, (0, 2) there\n"
    )


def test_the_world_size_of_the_environment_counts_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert run(["diff", "tensor=2", "8 tensor=2"]) == 0
    assert run(["diff", "--tensor 2", "8 tensor=2"]) == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["gone.json", "8"], 1, "ConfigError: gone.json cannot be read: No such file or directory.\n"),
        (["8", "."], 1, "ConfigError: . cannot be read: Is a directory.\n"),
        (["8", "nul\0"], 1, "ConfigError: nul\\x00 must be a file with the JSON of a plan: embedded null byte.\n"),
        (["8", "'8"], 1, "ConfigError: '8 cannot be read: No such file or directory.\n"),
        (["8", "8 tensor=3"], 1, "ConfigError: tensor = 3 does not divide world size 8."),
        (["8", "8 tensor"], 2, "'tensor' must have the form NAME=SIZE."),
        (["8", "8 --rank 3"], 2, "No such option '--rank'."),
        (["8"], 2, "Missing argument 'B'."),
    ],
)
def test_what_is_no_plan_is_refused_by_name(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diff", *words]) == status
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True), err


def test_a_file_that_was_changed_is_refused_by_name(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path(written).read_text()
    Path(written).write_text(text.replace("[[0, 1]", "[[0, 2]"))
    assert run(["diff", written, "8"]) == 1
    assert f"{written} must hold the JSON of a plan. This plan was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--plugin", "lab_of_diff", "diff", "8 lab=2", "8 lab=4"],
        ["diff", "8 lab=2 --plugin lab_of_diff", "8 lab=4 --plugin lab_of_diff"],
    ],
    ids=["before the command", "in its words"],
)
def test_a_plugin_in_the_working_directory_can_be_named(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "lab_of_diff", raising=False)
    Path("lab_of_diff.py").write_text(PLUGIN, encoding="utf-8")
    assert run(words) == 1
    assert "size lab: 2 (command line) here, 4 (command line) there\n" in capsys.readouterr().out
