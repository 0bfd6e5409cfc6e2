"""Measure how soon the command line returns, and what the imports and the first plan of a script take.

The peers are importing torch, and what a command line must import at least.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import measure

ROUNDS = 11
ARGUMENTS = ["plan", "8"]
#: What a program with commands, plugins and tables imports at least.
IMPORTS = 'python -c "import click, pluggy, rich…"'
TORCH = 'python -c "import torch"'
LEAST = "import click, pluggy, rich.console, rich.table, importlib.metadata"
#: What a script does first, each after the lines that are not measured.
STEPS = {
    "from pgregistry import init, after torch": ("import torch", "from pgregistry import init"),
    "from pgregistry import plan": ("pass", "from pgregistry import plan"),
    "first plan(8), with the plugins": ("from pgregistry import plan", "plan(8)"),
    "first plan of 1,048,576 ranks, with the plugins": (
        "from pgregistry import plan",
        "plan(1048576, pipe=16, tensor=8)",
    ),
    "second plan of 1,048,576 ranks": (
        "from pgregistry import plan; plan(8)",
        "plan(1048576, pipe=16, tensor=8)",
    ),
}


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
    show_steps()


def show_steps() -> None:
    """Print what each step takes in a process of its own."""
    for name in STEPS:
        measure.child(__file__, "step", name)  # compiles what is not compiled yet, and fills the file cache
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in STEPS}
    for _ in range(ROUNDS):
        for name in STEPS:
            times[name].append(measure.child(__file__, "step", name))
    rows = [
        (name, *(measure.duration(median(one[i] for one in taken)) for i in (0, 1))) for name, taken in times.items()
    ]
    measure.show(
        "The first steps of a script",
        ("in a process of its own", "median", "CPU time"),
        rows,
        "Aims: at most 25 ms for the import after torch, and at most 5 ms for the first plan.",
    )


def step(name: str) -> tuple[float, float]:
    """Return the seconds of one step, and those of the CPU."""
    before, code = STEPS[name]
    names: dict[str, object] = {}
    exec(before, names)
    compiled = compile(code, name, "exec")
    cpu = time.process_time()
    return measure.timed(lambda: exec(compiled, names)), time.process_time() - cpu


if __name__ == "__main__":
    measure.run(main, {"step": step})
