"""The documentation says what the software does: examples run, tables are real output.

How a fenced block says what it is:

* ```python that starts with `>>>` is a doctest, which goes on where the one before it in its section ended;
* ```python that starts with `# pgregistry_NAME.py` is a plugin, installed for its section;
* ```python that starts with `# lab_NAME.py` is a module in the working directory;
* ```python that starts with `# test_NAME.py` is a file of tests, run by `$ pytest -q`;
* ```python that starts with another `# NAME.py` is a script, run on real ranks by the `$ torchrun` line of its section;
* ```text that starts with `rank ` is a picture of the groups, or positions, in the `plan` of the doctest before it;
* ```toml that starts with `# NAME.toml` is a file in the working directory;
* ```console holds commands, each with all that it prints.
"""

from __future__ import annotations

import doctest
import io
import os
import re
import string
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import needs
import pytest
import shells
from documents import RUN, TUTORIAL, blocks, commands, files, lines, read, sections

import pgregistry
from pgregistry.testing import LocalRanks


@pytest.fixture(autouse=True)
def _one_server(local_ranks: LocalRanks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `run_ranks` of an example use the ranks of all tests, which have imported torch already."""
    monkeypatch.setattr("pgregistry.testing.ranks.local_ranks.LocalRanks", lambda: nullcontext(local_ranks))


@pytest.fixture
def eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the modes that the documentation shows, whatever else was added to pyproject.toml since."""
    monkeypatch.syspath_prepend(shells.install_bundled(tmp_path / "bundled"))


def run_pytest(folder: Path) -> str:
    """Run the tests in a folder and return what pytest prints, without the seconds."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-" in path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=100)
    return re.sub(r" in [\d.]+s", "", done.stdout)


def rows_of(plan: pgregistry.Plan, picture: list[list[str]]) -> list[list[str]]:
    """Return the rows of a picture as the plan has them: a letter for each group, or the position in it."""
    ranks = range(plan.world_size)
    rows = [["rank", *map(str, ranks)]]
    for name, first, *_ in picture[1:]:
        groups = [plan[name].group_of(rank) for rank in ranks]
        if first.isdigit():
            rows.append([name, *(str(group.index(rank)) for rank, group in zip(ranks, groups, strict=True) if group)])
        else:
            letters = dict(zip(plan[name].groups, string.ascii_lowercase, strict=False))
            rows.append([name, *(letters[group] if group else "." for group in groups)])
    return rows


def prepare(text: str, folder: Path, distribution: Callable[..., Path]) -> None:
    """Install the plugins of a section and write its files."""
    plugins = {name: block for name, block in files(text, "python").items() if name.startswith("pgregistry_")}
    if plugins:
        points = shells.entry_points(blocks(text, "toml"), plugins)
        distribution(f"pgregistry-{next(iter(points))}", points, plugins)
    modules = {name: block for name, block in files(text, "python").items() if name.startswith(("test_", "lab_"))}
    for name, block in {**files(text, "toml"), **modules}.items():
        sys.modules.pop(name.removesuffix(".py"), None)
        (folder / name).write_text(block, encoding="utf-8")


def before(name: str, title: str) -> str:
    """Return the text that a section continues: in the tutorial all steps before it."""
    return read(name).partition(f"## {title}\n")[0] if name == TUTORIAL else ""


#: What shows that ranks of a section print, and so does the gloo of older versions of torch.
STARTS_RANKS = ("run_ranks(", "$ torchrun", "$ pgregistry check")
RUNNABLE = [
    pytest.param(
        before(name, title),
        text,
        id=f"{name}: {title}",
        marks=[pytest.mark.slow] * ("$ pytest" in text) + [needs.QUIET] * any(one in text for one in STARTS_RANKS),
    )
    for name in RUN
    for title, text in sections(name).items()
    if ">>> " in text or "$ pgregistry" in text or "pgregistry plan" in text or "$ torchrun" in text
]


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(("earlier", "text"), RUNNABLE)
def test_what_a_section_shows_is_what_happens(
    earlier: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distribution: Callable[..., Path]
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    prepare(earlier + text, folder, distribution)
    names: dict[str, object] = {}
    with monkeypatch.context() as environment:
        environment.setattr(os, "environ", os.environ.copy())
        for block in re.findall(r"^```(?:python|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if block.startswith(">>>"):
                test = doctest.DocTestParser().get_doctest(block, names, "block", None, 0)
                report = io.StringIO()
                doctest.DocTestRunner(verbose=False).run(test, out=report.write, clear_globs=False)
                assert not report.getvalue(), report.getvalue()
                names = test.globs
            elif block.startswith("rank ") and isinstance(plan := names.get("plan"), pgregistry.Plan):
                picture = [line.split() for line in block.splitlines()]
                assert picture == rows_of(plan, picture)
    for command, expected in commands(text):
        if command.startswith("torchrun"):
            script = shells.torchrun(command, files(text, "python"))
            assert lines(script) == lines(expected)
        elif command == "pytest -q":
            assert lines(run_pytest(folder)) == lines(expected)
        elif not command.startswith(("make ", "pip ", "python -m build", "pgregistry smoke")):
            _, printed = shells.run_command(command)
            assert lines(printed) == lines(expected), command


def test_the_readme_of_the_expert_example_shows_what_happens(distribution: Callable[..., Path]) -> None:
    name = "pgregistry-expert"
    module = read(f"examples/{name}/pgregistry_expert.py")
    distribution(name, {"expert": "pgregistry_expert"}, {"pgregistry_expert.py": module}, version="0.1.0")
    shown = dict(commands(read(f"examples/{name}/README.md")))
    planned = [command for command in shown if command.startswith("pgregistry plan")]
    assert planned
    for command in planned:
        assert lines(shells.run_command(command)[1]) == lines(shown[command])


@pytest.mark.parametrize("name", RUN)
def test_every_example_in_python_is_one_that_a_test_runs(name: str) -> None:
    for title, text in sections(name).items():
        typed = " ".join(command for command, _ in commands(text))
        for block in blocks(text, "python"):
            first = block.splitlines()[0]
            script = re.fullmatch(r"# (\w+\.py)", first)
            plugin = script and script[1].startswith("pgregistry_")
            tested = script and script[1].startswith("test_") and "pytest -q" in typed
            module = script and script[1].startswith("lab_") and script[1].removesuffix(".py") in typed
            runs = first.startswith(">>> ") or plugin or tested or module or (script and script[1] in typed)
            assert runs, f"{name}, {title}: nothing runs the block that starts with {first!r}"
