"""The documentation has what it must: all hooks, modes, public names and pages; and its links lead somewhere."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from documents import ALL, ROOT, commands, files, read, sections

import pgregistry
from pgregistry import cli, hookspecs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_every_hook_is_documented_with_its_arguments_and_no_other() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("pgregistry_")}
    expected = [f"{name}({', '.join(inspect.signature(hook).parameters)})" for name, hook in hooks.items()]
    documented = [title.strip("`") for title in sections("docs/hooks.md") if "pgregistry_" in title]
    assert documented == expected


def test_the_page_of_what_stays_has_the_hooks_the_groups_and_the_exports_that_there_are() -> None:
    text = read("docs/stability.md")
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("pgregistry_")}
    expected = [f"{name}({', '.join(inspect.signature(hook).parameters)})" for name, hook in hooks.items()]
    assert sorted(re.findall(r"^\* `(pgregistry_.+)`$", text, re.MULTILINE)) == sorted(expected)
    points = tomllib.loads(read("pyproject.toml"))["project"]["entry-points"]
    (row,) = re.findall(r"^\| entry point groups \| (.+?) \|", text, re.MULTILINE)
    assert re.findall(r"`(\S+?)`", row) == [group for group in points if group.startswith("pgregistry")]


def test_every_hook_has_an_example_that_implements_it_and_one_that_runs() -> None:
    for title, text in sections("docs/hooks.md").items():
        if "pgregistry_" in title:
            hook = title.strip("`").partition("(")[0]
            assert any(f"@hookimpl\ndef {hook}(" in block for block in files(text, "python").values()), hook
            assert ">>> " in text or any(command for command, _ in commands(text)), hook


def test_the_readme_names_the_two_commands_and_the_makefile_has_them() -> None:
    typed = {command.partition("#")[0].strip() for command, _ in commands(sections("README.md")["Two commands"])}
    assert typed == {"make demo", "make test"}
    targets = re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE)
    assert {command.removeprefix("make ") for command in typed} <= set(targets)


def test_the_reference_has_the_exit_codes_of_the_commands_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    text = sections("docs/reference.md")["Exit codes"]
    rows = re.findall(r"^\| (\d) \| .+ \| `pgregistry (.+)` \|$", text, re.MULTILINE)
    assert {code for code, _ in rows} == {"0", "1", "2"}
    assert [(str(cli.run(shlex.split(command))), command) for _, command in rows] == rows
    assert cli.run(["plan", "4"]) == 0
    assert capsys.readouterr().err.count("Error") == 2


DISAGREES = """
from pgregistry import PlanMismatch, hookimpl


@hookimpl
def pgregistry_commands(cli):
    @cli.command()
    def disagree():
        raise PlanMismatch("ranks disagree")
"""


def test_the_exit_code_of_ranks_that_disagree_is_that_of_the_reference(distribution: Callable[..., Path]) -> None:
    distribution("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": DISAGREES})
    (code,) = re.findall(r"(\d) means that ranks disagree", sections("docs/reference.md")["Exit codes"])
    assert str(cli.run(["disagree"])) == code


def test_every_bundled_mode_is_in_the_index_with_its_groups() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| ([\d ·]+) \|$", read("plugins/README.md"), re.MULTILINE)
    points = tomllib.loads(read("pyproject.toml"))["project"]["entry-points"]["pgregistry"]
    assert [name for name, _ in rows] == sorted(points)
    plan = pgregistry.plan(8, pipe=2, tensor=2, only=list(points))
    shown = {name: [tuple(map(int, group.split())) for group in groups.split("·")] for name, groups in rows}
    assert shown == {name: list(plan[name].groups) for name in sorted(points)}


@pytest.mark.parametrize("name", ALL)
def test_links_lead_to_files_that_are_there(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(name)):
        assert (ROOT / name).parent.joinpath(target).exists(), target


def test_the_index_of_the_documentation_names_each_page_once() -> None:
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    named = re.findall(r"^\| \[(\S+)\]\(\1\) \| \S", read("docs/README.md"), re.MULTILINE)
    assert sorted(named) == sorted([*pages, "../README.md"])


def test_no_two_pages_have_the_same_title() -> None:
    folders = (".", "docs", "plugins", "benchmarks", "examples/*")
    pages = [page for folder in folders for page in ROOT.glob(f"{folder}/*.md")]
    titles = Counter(page.read_text(encoding="utf-8").partition("\n")[0] for page in pages)
    assert [title for title, number in titles.items() if number > 1] == []


def test_the_reference_lists_every_public_name() -> None:
    rows = re.findall(r"^\| (`.+?) \| \S", sections("docs/reference.md")["Public names"], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(pgregistry.__all__)
    text = sections("docs/reference.md")["pgregistry.testing"]
    assert [name for name in pgregistry.testing.__all__ if name not in text] == []


def test_contributing_has_a_line_for_each_room_and_file_beside_them() -> None:
    rows = re.findall(r"^\| (`.+`) \| \S", sections("CONTRIBUTING.md")["Map"], re.MULTILINE)
    package = ROOT / "pgregistry"
    files = {path.name for path in package.glob("*.py") if not path.name.startswith("_")}
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert sorted(re.findall(r"`(\S+)`", " ".join(rows))) == sorted(files | rooms)


def test_the_numbers_in_the_readme_are_those_that_make_bench_measured() -> None:
    (summary,) = re.findall(r"^In short: (.+?)\.$", read("docs/benchmarks.md"), re.MULTILINE | re.DOTALL)
    assert f"| what does it cost? | {' '.join(summary.split())}: " in read("README.md")
