"""Tables at every width: no column is dropped, no word cut, and a pipe has no width."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from command import command
from hypothesis import given
from hypothesis import strategies as st

import pgregistry
from pgregistry.views.html import html_table
from pgregistry.views.letters import letter
from pgregistry.views.tables import table

WORDS = st.text("ab,_×", min_size=1, max_size=30)
CELLS = st.lists(WORDS, max_size=5).map(" ".join)
HEADS = [f"{name} head" for name in "ABCD"]


@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=5), st.integers(0, 200))
def test_every_word_of_every_cell_is_there_at_every_width(rows: list[list[str]], width: int) -> None:
    shown = table(HEADS, rows, right=HEADS[1:2], width=width)
    words = [word for row in (HEADS, *rows) for cell in row for word in cell.split()]
    assert sorted(shown.split()) == sorted(words)
    natural, widest = (max(map(len, text.splitlines())) for text in (table(HEADS, rows), shown))
    assert widest <= natural
    longest = [max(len(word) for row in (HEADS, *rows) for word in row[at].split() or [""]) for at in range(4)]
    if width >= sum(longest) + 9:
        assert widest <= width
    if width == 0 or width >= natural:
        assert shown.count("\n") == len(rows)


def test_letters_go_on_after_z() -> None:
    names = [letter(index) for index in range(26 + 26 * 26 + 1)]
    assert (names[25], names[26], names[-2], names[-1]) == ("z", "aa", "zz", "aaa")
    assert all((len(one), one) < (len(other), other) for one, other in pairwise(names))


def test_html_shows_text_as_text() -> None:
    assert "<script>" not in html_table(["<script>"], [["<script>"]])


def in_terminal(columns: int, words: tuple[str, ...], path: str, **variables: str) -> str:
    """Return what a command writes to a terminal of this width."""
    reader, writer = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "PYTHONPATH": path, **variables}
    with subprocess.Popen([sys.executable, "-m", *words], stdout=writer, env=environ) as process:
        os.close(writer)
        text = b""
        try:
            while chunk := os.read(reader, 65536):
                text += chunk
        except OSError:  # Linux's end of a terminal
            pass
        os.close(reader)
        assert process.wait(60) == 0
    return text.decode().replace("\r", "")


@pytest.mark.parametrize(("columns", "per_block"), [(200, 64), (80, 24), (20, 4)])
def test_rows_of_letters_fold_in_blocks_of_ranks_in_a_terminal(columns: int, per_block: int) -> None:
    words = ("pgregistry", "show", "64", "tensor=4", "--only", "data,tensor")
    text = in_terminal(columns, words, os.environ.get("PYTHONPATH", ""), NO_COLOR="1")
    blocks = [block.splitlines() for block in text.rstrip("\n").split("\n\n")]
    assert [block[0].split()[1] for block in blocks] == list(map(str, range(0, 64, per_block)))
    assert max(len(line) for block in blocks for line in block) <= columns
    cells: dict[str, list[str]] = {}
    for name, *found in (line.split() for block in blocks for line in block):
        cells.setdefault(name, []).extend(found)
    whole = pgregistry.plan(64, tensor=4, only=["data", "tensor"]).picture()
    assert [[name, *found] for name, found in cells.items()] == [line.split() for line in whole.splitlines()]


NAME = "acme_EXPERT_TENSOR_AND_MODEL_PARALLEL_GROUP_WITH_MORE"
WIDE = f"""
from pgregistry import Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode({NAME!r}, over=("data", "pipe", "tensor"))
"""


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_shows_what_a_pipe_shows_and_only_folds_it(columns: int, acme: Callable[[str], Path]) -> None:
    path = f"{acme(WIDE)}:{os.environ.get('PYTHONPATH', '')}"
    words = ("pgregistry", "plan", "16", "tensor=2", "pipe=2", "--only", "acme,data,pipe,tensor")
    piped, shown = command(*words, PYTHONPATH=path).stdout, in_terminal(columns, words, path)
    assert sorted(shown.split()) == sorted(piped.split())
    assert f"{NAME}   data, pipe, tensor   1 × 16           0 1 2 3 4 … 15   acme" in piped
    assert (shown == piped) == (columns >= max(map(len, piped.splitlines())))
