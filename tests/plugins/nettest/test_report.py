"""The report of a network test as JSON, and as a baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_tests import REPORT
from pgregistry_nettest.analysis.report import Report

from pgregistry import ConfigError


def test_a_report_comes_back_from_json_as_it_was() -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT
    assert (REPORT.healthy, REPORT.world_size, REPORT.rounds) == (False, 4, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2}',
        REPORT.to_json().replace('"ranks"', '"rank"'),
        REPORT.to_json().replace("0.5", '"x"'),
    ],
)
def test_what_is_no_report_is_refused_as_a_baseline(text: str, tmp_path: Path) -> None:
    (tmp_path / "then.json").write_text(text)
    with pytest.raises(
        ConfigError, match=r"^The baseline '.*then.json': (This is not a report|The report has schema 2)"
    ):
        Report.load(tmp_path / "then.json")


def test_a_baseline_that_is_not_there_is_an_error_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^The baseline 'nowhere.json' cannot be read: .*No such file"):
        Report.load("nowhere.json")
