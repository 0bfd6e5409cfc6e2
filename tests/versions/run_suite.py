"""Run the fast tests with another torch, in an environment of its own: `make torch VERSION=2.14.1`.

The environment is build/torch-VERSION. It has the pins of constraints.txt, but that of torch. The outcome becomes the
row of this version in docs/compatibility.md. TESTS="tests/building" runs those alone, and the row says so.
The builds of PyPI bring CUDA libraries of several GB, and run on CPUs.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "compatibility.md"
#: The rows of the page, one a version.
ROWS: Final = re.compile(r"(?<=<!-- runs -->\n)(?P<head>\|.*\n\|[-|]+\n)(?P<rows>(?:\|.*\n)*)")
#: What a row says of the build, in the environment of that torch.
BUILD: Final = """
import json, torch
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.device_count()]))
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        counts: How many tests passed, failed, and were skipped.
        failed: The tests that failed, by name.
        skipped: How many tests were skipped for each reason.
    """

    counts: Counter[str]
    failed: tuple[str, ...]
    skipped: Counter[str]


def main(version: str, only: Sequence[str]) -> int:
    """Run the tests, or some of them, with a version of torch, and return the exit status of pytest."""
    folder = ROOT / "build" / f"torch-{version}"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        install(version, folder, python)
    begun = time.monotonic()
    report = folder / "junit.xml"
    tests = ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "--timeout=600", f"--junitxml={report}"]
    environ = {**os.environ, "TEST_RANKS_SECONDS": "300"}
    status = subprocess.run([python, *tests, *only], cwd=ROOT, env=environ).returncode
    if not report.exists():
        return status or 1
    outcome, minutes = read_report(report), (time.monotonic() - begun) / 60
    built = json.loads(subprocess.run([python, "-c", BUILD], check=True, capture_output=True, text=True).stdout)
    row = to_row(version, built, only, outcome, minutes)
    if status > 1:  # pytest itself did not end well
        print(f"The run was cut short, so {PAGE.relative_to(ROOT)} stays as it is. {row}")
        return status
    PAGE.write_text(with_row(PAGE.read_text(encoding="utf-8"), row), encoding="utf-8")
    print(f"\n{row}\nThe row is in {PAGE.relative_to(ROOT)}.")
    for name in outcome.failed:
        print(f"failed: {name}")
    for reason, count in outcome.skipped.most_common():
        print(f"{count} skipped: {reason}")
    return status


def install(version: str, folder: Path, python: Path) -> None:
    """Make the environment: torch of this version, and everything else as pinned."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pins = folder / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins.write_text("\n".join(line for line in lines if not line.startswith("torch==")) + "\n", encoding="utf-8")
    pip = [python, "-m", "pip", "install", "-q", "-c", pins]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "hatchling", "editables", f"torch=={version}"], check=True)
    group = f"{ROOT / 'pyproject.toml'}:dev"
    subprocess.run([*pip, "--no-build-isolation", "-e", ROOT, "--group", group, f"torch=={version}"], check=True)
    (folder / ".ready").touch()


def read_report(report: Path) -> Outcome:
    """Return the outcome that pytest wrote as JUnit's XML."""
    counts, failed, skipped = Counter[str](), list[str](), Counter[str]()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        found = {child.tag: child for child in case}
        if "failure" in found or "error" in found:
            counts["failed"] += 1
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in found:
            counts["skipped"] += 1
            skipped[found["skipped"].get("message", "")] += 1
        else:
            counts["passed"] += 1
    return Outcome(counts, tuple(failed), skipped)


def to_row(version: str, built: list[str | int | None], only: Sequence[str], outcome: Outcome, minutes: float) -> str:
    """Return the row of a version for docs/compatibility.md."""
    name, cuda, devices = built
    build = f"CUDA {cuda} build, {devices or 'no'} GPU{'s' * (devices not in (0, 1))}" if cuda else "CPU build"
    passed, failed, skipped = (outcome.counts[key] for key in ("passed", "failed", "skipped"))
    system = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    tests = " ".join(f"`{one}`" for one in only) or "all that are fast"
    cells = (version, f"`{name}`, {build}; {system}", tests, passed, failed, skipped, f"{minutes:.0f} min")
    return f"| {' | '.join(map(str, cells))} |"


def with_row(page: str, row: str) -> str:
    """Return the page with a row in the place of the one of the same version, or after those of older versions.

    >>> print(with_row("<!-- runs -->\\n| torch | |\\n|---|---|\\n| 2.9.1 | a |\\n", "| 2.14.1 | b |"), end="")
    <!-- runs -->
    | torch | |
    |---|---|
    | 2.9.1 | a |
    | 2.14.1 | b |
    """
    table = ROWS.search(page)
    if table is None:
        raise SystemExit(f"{PAGE} must have a table after the line <!-- runs -->.")
    rows = {line.split("|")[1].strip(): line for line in [*table["rows"].splitlines(), row]}
    ordered = sorted(rows, key=lambda version: [int(part) for part in re.findall(r"\d+", version)])
    lines = "".join(f"{rows[version]}\n" for version in ordered)
    return page[: table.start("rows")] + lines + page[table.end("rows") :]


if __name__ == "__main__":
    if len(sys.argv) < 2 or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        raise SystemExit("Say which torch: make torch VERSION=2.15.0")
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
