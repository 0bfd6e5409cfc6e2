"""Run what documents show: a command of pgregistry, a script under torchrun, plugins that are installed."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from origin import EIGHT
from ranks import run_ranks

from pgregistry import cli
from pgregistry.testing import write_distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def file_name(block: str) -> str | None:
    """Return the name in the first line of a block, as in `# odd.py`."""
    match = re.match(r"# (\w+\.(?:py|toml))(\n|$)", block)
    return match and match[1]


def named(blocks: Iterable[str], pattern: str) -> dict[str, str]:
    """Return the blocks that are files whose name matches."""
    return {name: block for block in blocks if (name := file_name(block)) and re.fullmatch(pattern, name)}


def entry_points(blocks: Iterable[str], plugins: Iterable[str]) -> dict[str, str]:
    """Return the entry points that a block of pyproject.toml has; without one, each plugin has its own name."""
    for block in blocks:
        if block.startswith("[project.entry-points"):
            points: dict[str, str] = tomllib.loads(block)["project"]["entry-points"]["pgregistry"]
            return points
    return {name.removeprefix("pgregistry_").removesuffix(".py"): name.removesuffix(".py") for name in plugins}


def run_command(command: str) -> tuple[int, str]:
    """Run a command of pgregistry in this process and return its exit code and all that it prints.

    Settings before it are set, and `2>&1 | grep WORD` after it is done. Of a path only the file is shown, since
    folders differ: `…/pgregistry_data.py`, or `…` for a folder. Times of less than a second are 0.
    """
    command, _, word = command.partition(" 2>&1 | grep ")
    words = shlex.split(command)
    before, out = dict(os.environ), io.StringIO()
    try:
        while re.match(r"[A-Z_]+=", words[0]):
            variable, _, value = words.pop(0).partition("=")
            os.environ[variable] = value
        assert words.pop(0) == "pgregistry", command
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = cli.run(words)
    finally:
        os.environ.clear()
        os.environ.update(before)
    shown = re.sub(r"(?<!\S)/\S+?(/\w+\.py)?(?!\S)", r"…\1", out.getvalue())
    shown = re.sub(r"\d+ ms {3,7}", "0 ms".ljust(9), shown)
    return code, "".join(line for line in shown.splitlines(keepends=True) if word in line)


def run_script(source: str) -> str:
    """Run a script in this process and return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})
    return out.getvalue()


def torchrun(command: str, scripts: Mapping[str, str]) -> str:
    """Run a script on real ranks, as a command with torchrun does, and return what they print in order of ranks."""
    match = re.fullmatch(r"torchrun --nproc-per-node (\d) (\w+\.py)", command)
    assert match, command
    return "".join(run_ranks(int(match[1]), run_script, scripts[match[2]], world=False))


def install_bundled(folder: Path) -> Path:
    """Write a distribution `pgregistry` with the plugins that documents show, whatever else is installed."""
    points = {name: f"pgregistry_{name}" for name in EIGHT}
    written = write_distribution(folder, "pgregistry", points, {}, version=version("pgregistry"))
    (file,) = written.glob("*/entry_points.txt")
    file.write_text(f"{file.read_text()}\n[pgregistry.optional]\nhsdp = pgregistry_hsdp\n")
    return written
