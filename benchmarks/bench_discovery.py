"""Measure finding plugins among 300 and 3,000 installed distributions, beside what Python and pluggy offer."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import measure
import pluggy

#: Distributions, and how many of them have a plugin.
CASES = ((300, 100), (300, 300), (3000, 100))
ROUNDS = 5
PLUGIN = """
from pgregistry import Axis, Mode, hookimpl


@hookimpl
def pgregistry_modes():
    yield Mode("{name}", over=Axis("{name}"))
"""


def install(folder: Path, count: int, plugins: int) -> None:
    """Lay out distributions as an installer does: METADATA of 9 KB, a command line in every third."""
    for number in range(count):
        name = f"dist_{number:04}"
        info = folder / f"{name}-1.{number}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\nSummary: A distribution\n"
        classifiers = "Classifier: Programming Language :: Python :: 3\n" * 12
        info.joinpath("METADATA").write_text(f"{head}{classifiers}\n" + "A line of the long description.\n" * 260)
        info.joinpath("RECORD").write_text(f"{name}/__init__.py,,\n" * 20)
        lines = [f"[pgregistry]\nmode_{number:04} = plugin_{number:04}"] if number < plugins else []
        if number % 3 == 1:
            lines.append(f"[console_scripts]\n{name} = {name}.cli:main")
        if lines:
            info.joinpath("entry_points.txt").write_text("\n".join(lines))
        if number < plugins:
            folder.joinpath(f"plugin_{number:04}.py").write_text(PLUGIN.format(name=f"mode_{number:04}"))


def only_these(folder: str) -> None:
    """Remove every other installed distribution from the path."""
    sys.path[:] = [folder, *(path for path in sys.path if not any(Path(path).glob("*.dist-info")))]


def way(name: str) -> Callable[[], object]:
    """Return one way to find plugins, with all that it needs imported."""
    import pgregistry
    from pgregistry import hookspecs
    from pgregistry.registry import discovery

    def with_pluggy() -> int:
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        return manager.load_setuptools_entrypoints(discovery.ON_WHEN_INSTALLED)

    ways: dict[str, Callable[[], object]] = {
        "least": least,
        "discover": discovery.discover,
        "entry_points": partial(importlib.metadata.entry_points, group=discovery.ON_WHEN_INSTALLED),
        "plan": partial(pgregistry.plan, 8),
        "pluggy": with_pluggy,
    }
    return ways[name]


def least() -> None:
    """List each folder of the path, and open the entry points of each distribution: nobody can do less."""
    for entry in sys.path:
        for child in os.listdir(entry) if os.path.isdir(entry) else ():
            if child.endswith("-info"):
                try:
                    with open(f"{entry}/{child}/entry_points.txt", "rb") as file:
                        file.read()
                except FileNotFoundError:
                    continue


def seconds(name: str, folder: str) -> tuple[float, float]:
    """Return the CPU seconds of the first call in this fresh process, and the median of many more.

    All files are in the cache, so on a machine that does nothing else this is the time that passes.
    """
    call = way(name)
    only_these(folder)
    first, *later = (cpu_seconds(call) for _ in range(16))
    return first, median(later)


def cpu_seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def main() -> None:
    labels = {
        "least": "one listing, and one open a distribution",
        "discover": "pgregistry: discover(), imports no plugin",
        "entry_points": "importlib.metadata.entry_points(group=)",
        "plan": "pgregistry.plan(8): find, import, ask, plan",
        "pluggy": "pluggy: find, import and register",
    }
    again: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for count, plugins in CASES:
            folder = Path(temporary, f"{count}-{plugins}")
            folder.mkdir()
            install(folder, count, plugins)
            measure.child(__file__, "seconds", "plan", str(folder))  # compiles the plugins
            answers = [
                {name: measure.child(__file__, "seconds", name, str(folder)) for name in labels} for _ in range(ROUNDS)
            ]
            first, warm = ({name: median(one[name][i] for one in answers) for name in labels} for i in (0, 1))
            again[count, plugins] = warm["plan"]
            rows = [
                (
                    label,
                    *(measure.duration(first[name]), f"{first[name] / first['entry_points']:.2f} ×"),
                    *(f"{first[name] / first['least']:.2f} ×", measure.duration(warm[name])),
                )
                for name, label in labels.items()
            ]
            columns = ("CPU time", "first call", "÷ entry_points", "÷ least", "later calls")
            measure.show(f"{count} distributions, {plugins} of them with a plugin", columns, rows)
    print(
        "Aims at 3,000: discover() at most 0.5 × entry_points and 2 × the least; later plans at 300: at most 25 ms for"
    )
    print("100 plugins, and under 3 × that for 300.")
    print(f"300 plugins take {again[300, 300] / again[300, 100]:.2f} × the time of 100.")


if __name__ == "__main__":
    measure.run(main, {"seconds": seconds})
