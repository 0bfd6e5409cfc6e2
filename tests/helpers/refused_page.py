"""Write docs/refused.md: run each refusal of tests/helpers/refusals and show the error that it raises.

    python tests/helpers/refused_page.py

Another error takes another `Refusal` in one of these modules. A test compares the page with what this writes.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import multiprocessing
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import environment
import ranks
import shells
from refusals import Section, declarations, files, groups, init, names, nesting, plans, plugins, sizes
from refusals import ranks as disagreement

from pgregistry import PgregistryError
from pgregistry.testing import write_distribution

SECTIONS: tuple[Section, ...] = (
    *(
        sizes.SIZES,
        nesting.NESTING,
        names.NAMES,
        files.SETTINGS,
        init.INIT,
        plugins.INSTALLATION,
        plugins.PLUGINS,
        plans.PLANS,
    ),
    *(declarations.DECLARATIONS, groups.GROUPS, disagreement.DISAGREEMENT),
)
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "refused.md"
INTRODUCTION = """\
# Why my plan was refused

Every error of planning and of agreement, with its cause and the way out. Search this page for the part of your
message that is not a value. All problems of a run are reported in one error, one per line, so a message may hold
several of these. In the examples, `extra=[…]` stands for the modes of a plugin, and the error names plugin `'extra'`.

A `ConfigError` is about a value that you gave, a `PluginError` about a plugin, and a `PlanMismatch` about ranks that
disagree. `--trace` or `PGREGISTRY_TRACE=1` shows on the first rank which plugins and values were found.

`make pages` writes this page: it runs the examples and shows the errors that they raise."""

#: What differs from run to run or from system to system, and what the page has for it.
SYSTEMS = {
    re.escape(tempfile.gettempdir()) + r"/\w+/(?:bundled|site)": "/home/me/.venv/lib/python3.11/site-packages",
    re.escape(tempfile.gettempdir()) + r"/\w+/here": "/home/me/lib",
    re.escape(str(ROOT)): "/home/me/pgregistry",
    r"127\.0\.0\.1:\d+": "127.0.0.1:29500",
    r"\bport: \d+": "port: 29500",
    r"process \d+ on [\w-]+(?:\.[\w-]+)*": "process 4711 on host0",
    r"\[Errno \d+\] Connection refused": "[Errno 111] Connection refused",
    r"code: -\d+, name: EADDRINUSE": "code: -98, name: EADDRINUSE",
}
Site = tuple[str, int]


@dataclass
class Shown:
    """The text of a section, and the lines of pgregistry that made the errors in it."""

    text: str = ""
    sites: set[Site] = field(default_factory=set)


@contextlib.contextmanager
def noted(sites: set[Site]) -> Iterator[None]:
    """Note the file and line of each error of pgregistry that is made in this process, and of the callers."""
    original: Callable[..., None] = PgregistryError.__init__

    def init(self: PgregistryError, *args: Any, **keywords: Any) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            sites.add((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back
        original(self, *args, **keywords)

    PgregistryError.__init__ = init  # type: ignore[method-assign]
    try:
        yield
    finally:
        PgregistryError.__init__ = original  # type: ignore[method-assign]


@contextlib.contextmanager
def installed(section: Section) -> Iterator[None]:
    """Go into a folder with the files of a section, and install its plugins."""
    before = dict(os.environ), list(sys.path), os.getcwd()
    plugins = shells.named(section.blocks, r"pgregistry_\w+\.py")
    for variable in environment.set_by_launchers():
        del os.environ[variable]
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sys.path.insert(0, str(shells.install_bundled(folder / "bundled")))
            if plugins:
                points = shells.entry_points(section.blocks, plugins)
                site = write_distribution(folder / "site", f"pgregistry-{next(iter(points))}", points, plugins)
                sys.path.insert(0, str(site))
            (folder / "here").mkdir()
            os.chdir(folder / "here")
            for file, block in shells.named(section.blocks, r"\w+\.toml").items():
                Path(file).write_text(block, encoding="utf-8")
            yield
    finally:
        os.environ.clear()
        os.environ.update(before[0])
        sys.path[:] = before[1]
        os.chdir(before[2])
        for plugin in plugins:
            sys.modules.pop(plugin.removesuffix(".py"), None)


def show(section: Section) -> Shown:
    """Run a section."""
    shown = Shown()
    parts = [f"## {section.title}", *([textwrap.fill(section.about, 120)] if section.about else [])]
    names: dict[str, Any] = {}
    with installed(section), noted(shown.sites):
        for refusal in section.refusals:
            parts.append(textwrap.fill(f"**{refusal.title}** {refusal.why}", 120, break_on_hyphens=False))
            for block in refusal.blocks:
                if block.startswith("# hidden\n"):
                    exec(block, names)
                else:
                    parts.append(_run(block, section, names, shown.sites))
    shown.text = "\n\n".join(parts)
    return shown


def _run(block: str, section: Section, names: dict[str, Any], sites: set[Site]) -> str:
    """Run a block and return it with its result, fenced."""
    if block.startswith("$ "):
        commands = block.removeprefix("$ ").split("\n$ ")
        results = [f"$ {command}\n{_command(command, section, sites)}" for command in commands]
        return _fenced("console", "\n".join(results))
    if block.startswith("[") or shells.file_name(block):
        return _fenced("toml" if block.startswith("[") or ".toml\n" in block else "python", block)
    return _fenced("python", everywhere("\n".join(_python(block, names))))


def _command(command: str, section: Section, sites: set[Site]) -> str:
    if command.startswith("torchrun"):
        match = re.fullmatch(r"torchrun --nproc-per-node (\d) (\w+\.py)", command)
        assert match, command
        script = shells.named(section.blocks, r"\w+\.py")[match[2]]
        results = ranks.run_ranks(int(match[1]), _noting_script, script, world=False)
        printed = "".join(out for out, _ in results)
        sites.update(site for _, found in results for site in found)
    else:
        code, printed = shells.run_command(command)
        assert code != 0, f"{command} is not refused: {printed}"
    assert printed, f"{command} prints nothing"
    return everywhere(printed).rstrip()


def everywhere(text: str) -> str:
    """Return a text as it would be on any system."""
    for pattern, one in SYSTEMS.items():
        text = re.sub(pattern, one, text)
    return text


def _noting_script(source: str) -> tuple[str, set[Site]]:
    sites: set[Site] = set()
    with noted(sites):
        return shells.run_script(source), sites


def _python(block: str, names: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a doctest; the last statement must raise an error of pgregistry."""
    statements = ast.parse(block).body
    lines = block.splitlines()
    error: PgregistryError | None = None
    for statement in statements:
        source = lines[statement.lineno - 1 : statement.end_lineno]
        yield from (f"{'...' if number else '>>>'} {line}".rstrip() for number, line in enumerate(source))
        error = None
        try:
            exec(compile("\n".join(source), "<refusal>", "exec"), names)
        except PgregistryError as raised:
            error = raised
            yield from (
                "Traceback (most recent call last):",
                "    ...",
                f"pgregistry.{type(raised).__name__}: {raised}",
            )
    assert error is not None, f"this raises no error of pgregistry:\n{block}"


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def page() -> tuple[str, set[Site]]:
    """Return the page, and the lines of pgregistry that made the errors in it."""
    # Some sections wait for ranks that do not come, so two processes share them, the last one first: it waits longest.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _prepare) as pool:
        shown = [*pool.map(_show, reversed(range(len(SECTIONS))))][::-1]
    return "\n\n".join((INTRODUCTION, *(one.text for one in shown))) + "\n", set().union(*(one.sites for one in shown))


def _prepare() -> None:
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # no warnings about names of hosts
    ranks.PRELOAD = ()  # these ranks make no DTensors
    atexit.register(lambda: ranks.local_ranks().close())


def _show(number: int) -> Shown:
    return show(SECTIONS[number])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page()[0], encoding="utf-8")
