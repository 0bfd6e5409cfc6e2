"""docs/reliability.md shows the fault matrix that tests/runtime holds."""

from __future__ import annotations

from pathlib import Path

from fault_table import FAULTS, table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def test_the_page_shows_the_matrix_that_these_tests_hold() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Random faults")[0]
    found = "".join(line for line in text.splitlines(keepends=True) if line.startswith("| "))
    assert found == table(), f"Paste this into {PAGE}:\n{table()}"


def test_each_kind_is_tried_once() -> None:
    kinds = [fault.kind for fault in FAULTS]
    assert len(set(kinds)) == len(kinds)
