"""Each recipe of docs/recipes.md runs on real ranks, as the page has it, with the losses of one process."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from documents import blocks, commands, files, lines, sections
from ranks import run_ranks

PAGE = "docs/recipes.md"
LAB = "The model of these recipes"
RECIPES = {title: text for title, text in sections(PAGE).items() if title != LAB}


def prepared(folder: Path) -> None:
    """Write the module that lies beside the recipes."""
    (folder / "lab.py").write_text(files(sections(PAGE)[LAB], "python")["lab.py"], encoding="utf-8")


def run(folder: str, name: str, source: str) -> tuple[list[float] | None, list[float] | None, str]:
    """Run a recipe on this rank, and return its losses, those that it expects, and what it prints."""
    import contextlib
    import io
    import os
    import sys
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's own
    sys.path.insert(0, folder)
    os.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, name, "exec"), names)
    return names.get("losses"), names.get("expected"), printed.getvalue()


ALONE = """
import pgregistry
from lab import Net, train

with pgregistry.init() as context:
    losses = train(Net(), context["dummy"])
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[float] | None:
    """Return the losses of the model in one process."""
    folder = tmp_path_factory.mktemp("alone")
    prepared(folder)
    losses: list[float] | None = run_ranks(1, run, str(folder), "alone.py", ALONE, world=False)[0][0]
    return losses


@cache
def command(title: str) -> tuple[int, str, str]:
    """Return how many ranks a recipe has, its file, and what it prints."""
    ((typed, printed),) = commands(RECIPES[title])
    match = re.fullmatch(r"(?:torchrun --nproc-per-node (\d)|python) (\w+\.py)", typed)
    assert match, typed
    return int(match[1] or 1), match[2], printed


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_has_the_losses_of_one_process(title: str, alone: list[float], tmp_path: Path) -> None:
    ranks, name, printed = command(title)
    prepared(tmp_path)
    source = files(RECIPES[title], "python")[name]
    results = run_ranks(ranks, run, str(tmp_path), name, source, world=False, timeout=250)
    assert lines("".join(shown for _, _, shown in results)) == lines(printed)
    with_losses = [(losses, expected or alone) for losses, expected, _ in results if losses is not None]
    assert with_losses or ranks == 1
    for losses, expected in with_losses:
        assert losses == pytest.approx(expected, abs=1e-4)
        assert len(losses) > 2


def test_a_recipe_is_one_script_of_at_most_25_lines() -> None:
    for title, text in RECIPES.items():
        (source,) = blocks(text, "python")
        _, *code = [line for line in source.splitlines() if line]
        assert len(code) <= 25, title
        assert max(map(len, code)) <= 120, title


def test_the_page_has_every_kind_of_parallelism() -> None:
    text = " ".join(RECIPES.values())
    for word in ("DistributedDataParallel", "fully_shard", "Schedule1F1B", "ScheduleInterleaved1F1B", "async_save"):
        assert word in text
    for word in ("ZeroRedundancyOptimizer", "DistributedSampler", "AveragedModel", "FakeStore", "compile", "within="):
        assert word in text
