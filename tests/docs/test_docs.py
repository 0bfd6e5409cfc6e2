"""The documentation says what the software does: examples run, tables are real output.

How a fenced block says what it is:

* ```python that starts with `>>>` is a doctest, which goes on where the one before it in its section ended;
* ```python that starts with `# pgregistry_NAME.py` is a plugin, installed for its section;
* ```python that starts with `# test_NAME.py` is a file of tests, run by `$ pytest -q`;
* ```python that starts with another `# NAME.py` is a script, run on real ranks by the `$ torchrun` line of its section;
* ```text that starts with `rank ` is a picture of the groups, or positions, in the `plan` of the doctest before it;
* ```toml that starts with `# NAME.toml` is a file in the working directory;
* ```console holds commands, each with all that it prints.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from origin import EIGHT
from ranks import run_ranks

import pgregistry
import pgregistry.testing
from pgregistry import cli, hookspecs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TUTORIAL = "docs/plugin-tutorial.md"
PAGES = ("hooks", "nettest", "plugin-tutorial", "reference", "vocabulary")
RUN = ("README.md", *(f"docs/{name}.md" for name in PAGES))
ALL = (
    *RUN,
    "examples/pgregistry-expert/README.md",
    "docs/README.md",
    "docs/comparison.md",
    "docs/refused.md",
    "docs/reliability.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "RELEASING.md",
    "plugins/README.md",
)


@pytest.fixture
def eight(distribution: Callable[..., Path]) -> None:
    """The modes that the documentation shows, whatever else was added to pyproject.toml since."""
    distribution("pgregistry", {name: f"pgregistry_{name}" for name in EIGHT}, {}, version=version("pgregistry"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def sections(name: str) -> dict[str, str]:
    """The parts of a page under `##` headings."""
    parts = re.split(r"^## (.+)$", read(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def files(text: str, language: str) -> dict[str, str]:
    """The blocks whose first line is a file name in a comment."""
    ending = {"python": "py"}.get(language, language)
    named = ((re.match(rf"# (\w+\.{ending})\n", block), block) for block in blocks(text, language))
    return {match[1]: block for match, block in named if match}


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of the console blocks, with what it prints."""
    for block in blocks(text, "console"):
        parts = re.split(r"^\$ (.+)$", block, flags=re.MULTILINE)
        assert not parts[0], f"output before the first command: {parts[0]!r}"
        yield from zip(parts[1::2], parts[2::2], strict=True)


def lines(text: str) -> list[str]:
    """Lines without what pads them."""
    return [line.rstrip() for line in text.strip().splitlines()]


def entry_points(text: str, plugins: dict[str, str]) -> dict[str, str]:
    """As a block of pyproject.toml says; without one, each plugin by its own name."""
    for block in blocks(text, "toml"):
        if "entry-points" in block:
            points: dict[str, str] = tomllib.loads(block)["project"]["entry-points"]["pgregistry"]
            return points
    return {name.removeprefix("pgregistry_").removesuffix(".py"): name.removesuffix(".py") for name in plugins}


def prints(command: str) -> str:
    """What a command prints, where it is one of ours; settings in front of it are set, and `2>&1 | grep WORD` is done.

    Of a path only the file is shown, since folders differ: `…/pgregistry_data.py`, or `…` for a folder.
    """
    command, _, word = command.partition(" 2>&1 | grep ")
    words = shlex.split(command)
    while re.match(r"[A-Z_]+=", words[0]):
        variable, _, value = words.pop(0).partition("=")
        os.environ[variable] = value
    assert words.pop(0) == "pgregistry", command
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        cli.run(words)
    shown = re.sub(r"(?<!\S)/\S+?(/\w+\.py)?(?!\S)", r"…\1", out.getvalue())
    return "".join(line for line in shown.splitlines(keepends=True) if word in line)


def run_pytest(folder: Path) -> str:
    """What the tests in a folder say of themselves, without how long they took."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-" in path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=100)
    return re.sub(r" in [\d.]+s", "", done.stdout)


def run_script(source: str) -> str:
    """One rank of a script; what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})
    return out.getvalue()


def rows_of(plan: pgregistry.Plan, picture: list[list[str]]) -> list[list[str]]:
    """The rows of a picture as the plan has them: a letter for each group, or a digit for each position in one."""
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
        points = entry_points(text, plugins)
        distribution(f"pgregistry-{next(iter(points))}", points, plugins)
    tests = {name: block for name, block in files(text, "python").items() if name.startswith("test_")}
    for name, block in {**files(text, "toml"), **tests}.items():
        (folder / name).write_text(block, encoding="utf-8")


def before(name: str, title: str) -> str:
    """What a section goes on from: in the tutorial the files of all steps before it."""
    return read(name).partition(f"## {title}\n")[0] if name == TUTORIAL else ""


RUNNABLE = [
    pytest.param(before(name, title), text, id=f"{name}: {title}")
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
            script = run_with_torchrun(command, files(text, "python"))
            assert lines(script) == lines(expected)
        elif command == "pytest -q":
            assert lines(run_pytest(folder)) == lines(expected)
        elif not command.startswith(("make ", "pip ", "python -m build", "pgregistry smoke")):
            with monkeypatch.context() as environment:
                environment.setattr(os, "environ", os.environ.copy())
                assert lines(prints(command)) == lines(expected), command


def test_the_readme_of_the_expert_example_shows_what_happens(distribution: Callable[..., Path]) -> None:
    name = "pgregistry-expert"
    module = read(f"examples/{name}/pgregistry_expert.py")
    distribution(name, {"expert": "pgregistry_expert"}, {"pgregistry_expert.py": module}, version="0.1.0")
    shown = dict(commands(read(f"examples/{name}/README.md")))
    planned = [command for command in shown if command.startswith("pgregistry plan")]
    assert planned
    for command in planned:
        assert lines(prints(command)) == lines(shown[command])


def run_with_torchrun(command: str, scripts: dict[str, str]) -> str:
    match = re.fullmatch(r"torchrun --nproc-per-node (\d) (\w+\.py)", command)
    assert match, command
    return "".join(run_ranks(int(match[1]), run_script, scripts[match[2]], world=False))


@pytest.mark.parametrize("name", RUN)
def test_every_example_in_python_is_one_that_a_test_runs(name: str) -> None:
    for title, text in sections(name).items():
        typed = " ".join(command for command, _ in commands(text))
        for block in blocks(text, "python"):
            first = block.splitlines()[0]
            script = re.fullmatch(r"# (\w+\.py)", first)
            plugin = script and script[1].startswith("pgregistry_")
            tested = script and script[1].startswith("test_") and "pytest -q" in typed
            runs = first.startswith(">>> ") or plugin or tested or (script and script[1] in typed)
            assert runs, f"{name}, {title}: nothing runs the block that starts with {first!r}"


def test_every_hook_is_documented_with_its_arguments_and_no_other() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("pgregistry_")}
    expected = [f"{name}({', '.join(inspect.signature(hook).parameters)})" for name, hook in hooks.items()]
    documented = [title.strip("`") for title in sections("docs/hooks.md") if "pgregistry_" in title]
    assert documented == expected


def test_every_hook_has_an_example_that_implements_it_and_one_that_runs() -> None:
    for title, text in sections("docs/hooks.md").items():
        if "pgregistry_" in title:
            hook = title.strip("`").partition("(")[0]
            assert any(f"@hookimpl\ndef {hook}(" in block for block in files(text, "python").values()), hook
            assert ">>> " in text or any(command for command, _ in commands(text)), hook


def test_the_picture_in_the_readme_has_each_rank_in_its_group() -> None:
    picture = next(block for block in blocks(read("README.md"), "text") if block.startswith("rank "))
    rows = {words[0]: words[1:] for words in map(str.split, picture.splitlines())}
    plan = pgregistry.plan(16, tensor=2, pipe=2, zero1=2, nettest=6)
    assert rows.pop("rank") == [str(rank) for rank in range(16)]
    assert set(rows) == set(EIGHT)
    for name, letters in rows.items():
        assert letters == [string.ascii_lowercase[plan[name].groups.index_of(rank) or 0] for rank in range(16)], name


def test_the_readme_shows_the_plan_of_its_picture() -> None:
    assert "pgregistry plan 16 tensor=2 pipe=2 zero1=2 nettest=6" in dict(commands(read("README.md")))


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
    assert cli.options.print_error(pgregistry.PlanMismatch("ranks disagree")) == 3


def test_every_bundled_mode_is_in_the_index_with_its_groups() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| ([\d ·]+) \|$", read("plugins/README.md"), re.MULTILINE)
    points = tomllib.loads(read("pyproject.toml"))["project"]["entry-points"]["pgregistry"]
    assert [name for name, _ in rows] == sorted(points)
    plan = pgregistry.plan(8, pipe=2, tensor=2, only=list(points))
    shown = {name: [tuple(map(int, group.split())) for group in groups.split("·")] for name, groups in rows}
    assert shown == {name: list(plan[name].groups) for name in sorted(points)}


def patched(folder: Path) -> Path:
    """A copy of the repository to which the patch in CONTRIBUTING.md is applied."""
    (patch,) = blocks(read("CONTRIBUTING.md"), "diff")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)  # in a folder of another repository it applies nothing

    def apply(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "apply", *options, "-"]
        return subprocess.run(command, input=patch, cwd=folder, env=environment, capture_output=True, text=True)

    if (folder / "plugins" / "pgregistry_shard.py").exists():  # somebody has followed CONTRIBUTING.md
        assert apply("--reverse").returncode == 0
    done = apply()
    assert done.returncode == 0, done.stderr
    return folder


def installed(folder: Path, site: Path) -> Mapping[str, str]:
    """The environment of a process that finds a copy and its entry points instead of this checkout."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"pgregistry-{project['version']}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: pgregistry\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = [f"{name} = {module}" for name, module in project["entry-points"]["pgregistry"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[pgregistry]", *points, ""]), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (site, folder, folder / "plugins")))}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_patch_that_adds_a_mode_is_all_that_it_takes(tmp_path: Path) -> None:
    folder = patched(tmp_path / "copy")
    environment = installed(folder, tmp_path / "site")

    def python(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = json.loads(python("pgregistry", "plan", "8", "tensor=2", "shard=2", "--json"))
    groups = {mode["name"]: mode["groups"] for mode in shown["modes"]}
    assert set(groups) - set(EIGHT) >= {"shard"}
    assert groups["shard"] == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert shown["modes"][0]["distribution"] == "pgregistry"
    same = pgregistry.plan(8, tensor=2, only=EIGHT)
    assert {name: groups[name] for name in EIGHT} == {name: list(map(list, same[name].groups)) for name in EIGHT}
    added = "plugins/pgregistry_shard.py", "tests/plugins/test_shard.py"
    python("ruff", "check", "--no-cache", *added)
    python("ruff", "format", "--no-cache", "--check", *added)
    index = "tests/docs/test_docs.py::test_every_bundled_mode_is_in_the_index_with_its_groups"
    assert " passed" in python("pytest", "-q", "-p", "no:cacheprovider", "tests/plugins/test_shard.py", index)


@pytest.mark.parametrize("name", ALL)
def test_links_lead_to_files_that_are_there(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(name)):
        assert (ROOT / name).parent.joinpath(target).exists(), target


def test_the_index_of_the_documentation_names_each_page_once() -> None:
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    named = re.findall(r"^\| \[(\S+)\]\(\1\) \| \S", read("docs/README.md"), re.MULTILINE)
    assert sorted(named) == sorted([*pages, "../README.md"])


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
