"""Measure how soon the command line returns, beside importing torch, and beside what it must import at least."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

import measure

ROUNDS = 11
ARGUMENTS = ["plan", "8"]
#: What a program with commands, plugins and tables imports at least.
IMPORTS = 'python -c "import click, pluggy, rich…"'
TORCH = 'python -c "import torch"'
LEAST = "import click, pluggy, rich.console, rich.table, importlib.metadata"


def main() -> None:
    commands = {
        "pgregistry plan 8": [str(Path(sys.executable).with_name("pgregistry")), *ARGUMENTS],
        "python -m pgregistry plan 8": [sys.executable, "-m", "pgregistry", *ARGUMENTS],
        IMPORTS: [sys.executable, "-c", LEAST],
        TORCH: [sys.executable, "-c", "import torch"],
        'python -c ""': [sys.executable, "-c", ""],
    }

    def once(command: list[str]) -> tuple[float, float]:
        """Return the seconds that pass, and those of the CPU, which other work on the machine hardly changes."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        passed = measure.timed(
            lambda: subprocess.run(command, env=measure.environment(), check=True, stdout=subprocess.DEVNULL)
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    for command in commands.values():
        once(command)  # compiles what is not compiled yet, and fills the file cache
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(once(command))
    passed, cpu = ({name: median(one[i] for one in taken) for name, taken in times.items()} for i in (0, 1))
    rows = [
        (name, measure.duration(passed[name]), f"{passed[name] / passed[TORCH]:.3f} ×", measure.duration(cpu[name]))
        for name in times
    ]
    more = [1000 * (taken["pgregistry plan 8"] - taken[IMPORTS]) for taken in (passed, cpu)]
    measure.show(
        "Start of the command line",
        ("whole process", "median", "÷ import torch", "CPU time"),
        rows,
        "Aims: less than a third of importing torch (0.333 ×), and at most 40 ms more than the imports of a program",
        f"with commands, plugins and tables. It takes {more[0]:+.0f} ms, and {more[1]:+.0f} ms of CPU time.",
    )


if __name__ == "__main__":
    main()
