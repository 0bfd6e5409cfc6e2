"""`expect`: a fingerprint, or a file with the JSON of a plan, from any source."""

from __future__ import annotations

from pathlib import Path

import pytest

import pgregistry
from pgregistry import ConfigError
from pgregistry.cli import run
from pgregistry.planning.plans.expectation import check_expected
from pgregistry.settings.merge import ConfigValue

PLAN = pgregistry.plan(8, tensor=2)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    file.write_text(PLAN.to_json(), encoding="utf-8")
    return file


@pytest.mark.parametrize("source", ["option", "environment", "file"])
def test_the_command_line_holds_a_plan_to_it_wherever_it_is_given(
    source: str, written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, origin = ["plan", "8"], "command line"
    if source == "environment":
        monkeypatch.setenv("PGREGISTRY_EXPECT", str(written))
        origin = "PGREGISTRY_EXPECT"
    elif source == "file":
        origin = str(written.with_name("run.toml"))
        Path(origin).write_text(f"expect = '{written}'\n")
        words += ["--config", origin]
    else:
        words += ["--expect", str(written)]
    assert run([*words, "tensor=2"]) == 0
    assert capsys.readouterr().out.endswith(f"fingerprint {PLAN.fingerprint}\n")
    assert run([*words, "tensor=4"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        f"ConfigError: The plan must be the one in {written} (expect, {origin}), but it differs from it:\n"
        "  size tensor: 4 (command line) here, 2 (keyword) expected\n"
    )


def test_what_a_diff_is_of_is_held_to_nothing(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREGISTRY_EXPECT", "0" * 32)
    assert run(["diff", str(written), "8 tensor=2"]) == 0


def test_a_list_of_differences_has_an_end(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    modes = [pgregistry.Mode(f"m{number}", over="data") for number in range(40)]
    file.write_text(pgregistry.plan(8, extra=modes).to_json(), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        check_expected(PLAN, ConfigValue(str(file), "keyword"))
    assert len(str(caught.value).splitlines()) == 21


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            None,
            " cannot be read: No such file or directory. It must be a fingerprint of 32 hexadecimal digits, or the",
        ),
        (b"\xff", " must be a file with the JSON of a plan: 'utf-8' codec can't decode"),
        (b"{}", " must hold the JSON of a plan. This"),
        (PLAN.to_json().replace("[[0, 1]", "[[0, 2]").encode(), " must hold the JSON of a plan. This plan was changed"),
    ],
)
def test_a_file_that_holds_no_plan_is_named(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        check_expected(PLAN, ConfigValue(str(file), "keyword"))
    assert str(caught.value).startswith(f"expect = {file} (keyword){said}")
