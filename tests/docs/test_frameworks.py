"""Each script of docs/frameworks.md trains in its framework, with the losses of one process."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

import pytest
from documents import blocks, commands, files, sections
from environments import RAY, install, run

PAGE: Final = "docs/frameworks.md"
LAB: Final = files(sections("docs/recipes.md")["The model of these recipes"], "python")["lab.py"]
ALONE: Final = "One process"
#: Each section, with the packages that its script needs.
PACKAGES: Final = {
    "accelerate": ("accelerate",),
    "Lightning Fabric": ("lightning",),
    "transformers": ("transformers", "accelerate"),
    "Ray Train": ("ray",),
}


def numbers(text: str) -> list[list[float]]:
    """Return the lines that are losses."""
    lines = [line.split() for line in text.splitlines() if re.fullmatch(r"\d+\.\d{5}( \d+\.\d{5})*", line)]
    return [[float(number) for number in line] for line in lines]


def losses(title: str, programs: Path, folder: Path, **more: str) -> list[list[float]]:
    """Run the script of a section with the programs of an environment, and return what it prints and the page has."""
    text = sections(PAGE)[title]
    ((typed, printed),) = commands(text)
    program, *rest = typed.split()
    starts = {
        "python": [programs / "python"],
        "torchrun": [programs / "python", "-m", "torch.distributed.run", "--standalone"],
    }
    for name, source in {"lab.py": LAB, **files(text, "python")}.items():
        (folder / name).write_text(source, encoding="utf-8")
    done = run([*starts[program], *rest], folder, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    found = numbers(done.stdout)
    assert found == [pytest.approx(line, abs=1e-4) for line in numbers(printed)]
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("title", PACKAGES)
def test_a_framework_has_the_losses_of_one_process(title: str, tmp_path: Path) -> None:
    programs = install(tmp_path / "venv", *PACKAGES[title])
    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # Ray's sockets need short paths
        here, *alone = losses(title, programs, tmp_path, HOME=str(tmp_path), RAY_TMPDIR=short, **RAY)
    alone = alone or losses(ALONE, programs, tmp_path)
    assert [here] == [pytest.approx(line, abs=1e-4) for line in alone]
    assert len(here) > 2


def test_a_framework_has_one_script_of_10_to_25_lines() -> None:
    assert [ALONE, *PACKAGES] == list(sections(PAGE))
    for title in PACKAGES:
        (source,) = blocks(sections(PAGE)[title], "python")
        _, *code = [line for line in source.splitlines() if line]
        assert 10 <= len(code) <= 25, title
        assert max(map(len, code)) <= 120, title
