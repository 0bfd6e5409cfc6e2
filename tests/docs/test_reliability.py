"""docs/reliability.md shows the faults that tests/runtime and tests/hosts hold."""

from __future__ import annotations

from pathlib import Path

import host_faults
from fault_table import FAULTS, table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def rows(before: str) -> str:
    """Return the rows of the tables of one part of the page: up to a heading, from the heading before that."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {before}")[0].rpartition("\n## ")[2]
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("| "))


def test_the_page_shows_the_matrix_that_these_tests_hold() -> None:
    assert rows("Several contexts") == table(), f"Paste this into {PAGE}:\n{table()}"


def test_the_page_shows_the_faults_across_hosts_that_these_tests_hold() -> None:
    assert rows("Random faults") == host_faults.table(), f"Paste this into {PAGE}:\n{host_faults.table()}"


def test_each_kind_is_tried_once() -> None:
    kinds = [fault.kind for fault in (*FAULTS, *host_faults.FAULTS)]
    assert len(set(kinds)) == len(kinds)
