"""Measure how soon the command line returns, beside importing torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import measure

ROUNDS = 11
ARGUMENTS = ["plan", "16", "tensor=2"]


def main() -> None:
    commands = {
        "pgregistry plan 16 tensor=2": [str(Path(sys.executable).with_name("pgregistry")), *ARGUMENTS],
        "python -m pgregistry plan 16 tensor=2": [sys.executable, "-m", "pgregistry", *ARGUMENTS],
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
    measure.show("Start of the command line", columns, rows, "Aim: less than a third of importing torch (0.333 ×).")


if __name__ == "__main__":
    main()
