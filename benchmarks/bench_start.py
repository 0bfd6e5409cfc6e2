"""Measure how soon the command line returns, beside importing torch, and beside what it must import at least."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import measure

ROUNDS = 11
ARGUMENTS = ["plan", "8"]
#: What a program with commands, plugins and tables imports at least.
LEAST = "import click, pluggy, rich.console, rich.table, importlib.metadata"


def main() -> None:
    commands = {
        "pgregistry plan 8": [str(Path(sys.executable).with_name("pgregistry")), *ARGUMENTS],
        "python -m pgregistry plan 8": [sys.executable, "-m", "pgregistry", *ARGUMENTS],
        'python -c "import click, pluggy, rich…"': [sys.executable, "-c", LEAST],
        'python -c "import torch"': [sys.executable, "-c", "import torch"],
        'python -c ""': [sys.executable, "-c", ""],
    }

    def once(command: list[str]) -> float:
        return measure.timed(
            lambda: subprocess.run(command, env=measure.environment(), check=True, stdout=subprocess.DEVNULL)
        )

    for command in commands.values():
        once(command)  # compiles what is not compiled yet, and fills the file cache
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(once(command))
    peer = median(times['python -c "import torch"'])
    rows = [
        (name, measure.duration(median(taken)), measure.duration(min(taken)), f"{median(taken) / peer:.3f} ×")
        for name, taken in times.items()
    ]
    columns = ("whole process", "median", "fastest", "÷ import torch")
    more = min(times["pgregistry plan 8"]) - min(times['python -c "import click, pluggy, rich…"'])
    measure.show(
        "Start of the command line",
        columns,
        rows,
        "Aims: less than a third of importing torch (0.333 ×), and at most 40 ms more than the imports of a program",
        f"with commands, plugins and tables. The fastest is {more * 1000:+.0f} ms from the fastest of these.",
    )


if __name__ == "__main__":
    main()
