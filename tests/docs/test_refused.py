"""docs/refused.md is what its generator writes, and has a place for every error of planning and of agreement."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import refused_page

import pgregistry

PACKAGE = Path(pgregistry.__file__).parent
ERRORS = ("ConfigError", "PluginError", "PlanMismatch", "error", "plugin_error", "failure")
#: Methods that make an error of the text or the rule that they are given.
METHODS = ("error", "_refuse")
#: Modules of agreement; those of planning are found by planning.
AGREEMENT = (
    *("coordination/*.py", "coordination/meeting/*.py", "coordination/places/*.py", "settings/launchers/*.py"),
    *("runtime/entry.py", "runtime/initialize.py", "runtime/process.py", "building/communicators/availability.py"),
)
#: Errors without a place on the page, by a part of their source, each with the reason.
UNSHOWN = {
    "which hosts the store, is gone before all ranks": "its text depends on the moment",
    "and its ranks agreed without this one": "its text depends on the moment",
    "init() is running in another thread": "two threads must call init at one moment",
    "The default process group has rank": "torch refuses such a rank first, from some version on",
    "This process was forked from one": "a child of a rank must call init",
    "self.incomplete()": "pgregistry itself must be on the path and not installed",
    "ConfigError(why)": "a module that a command needs must not be installed",
    "another version of pgregistry wrote it": "the other version is needed",
    "must be a device that torch finds": "it depends on the machine",
    "nother program writes to": "another program must write into the store of a run",
}

#: Making the page runs every refusal, some of them on real ranks.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page() -> tuple[str, set[refused_page.Site]]:
    return refused_page.page()


def test_the_page_is_what_the_generator_writes(page: tuple[str, set[refused_page.Site]]) -> None:
    written = refused_page.PAGE.read_text(encoding="utf-8")
    assert page[0] == written, "an error has another text than on the page; write the page again: make pages"


def modules() -> Iterator[Path]:
    """Return the modules that a plan needs, and those of agreement; diagnosis and meshes have errors of their own."""
    script = (
        "import sys, pgregistry; pgregistry.plan(2, require=['pgregistry']).to_json()\n"
        "for name, one in sys.modules.items(): print(name, one.__file__) if name.startswith('pgregistry.') else None"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    for line in done.stdout.splitlines():
        name, _, file = line.partition(" ")
        if not re.search("[.](runtime|diagnosis)[.]|dimensions", name):
            yield Path(file)
    for pattern in AGREEMENT:
        yield from PACKAGE.glob(pattern)


def made(file: Path) -> Iterator[ast.Call]:
    """Return the calls that make an error in a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if (isinstance(node.func, ast.Name) and node.func.id in ERRORS) or (
            isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
        ):
            yield node


def test_every_error_of_planning_and_of_agreement_is_on_the_page(page: tuple[str, set[refused_page.Site]]) -> None:
    lines: dict[str, set[int]] = {}
    for file, line in page[1]:
        lines.setdefault(str(Path(file).resolve()), set()).add(line)
    calls = {(file.resolve(), call) for file in modules() for call in made(file)}
    assert len(calls) > 80
    missing = []
    for file, call in calls:
        shown = lines.get(str(file), set()) & set(range(call.lineno, (call.end_lineno or call.lineno) + 1))
        source = ast.unparse(call)
        if not shown and not any(part in source for part in UNSHOWN):
            missing.append(f"{file.relative_to(PACKAGE)}:{call.lineno}: {source}")
    assert not missing, "tests/helpers/refusals needs a Refusal that raises each of\n" + "\n".join(sorted(missing))


def test_every_exception_is_needed() -> None:
    sources = [ast.unparse(call) for file in modules() for call in made(file)]
    assert [part for part in UNSHOWN if not any(part in source for source in sources)] == []
