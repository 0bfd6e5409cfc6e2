"""Measure finding plugins among 20 and 300 installed distributions, beside what Python and pluggy offer."""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import measure
import pluggy

COUNTS = (20, 300)
ROUNDS = 9
PLUGIN = """
from pgregistry import Axis, Mode, hookimpl


@hookimpl
def pgregistry_modes():
    yield Mode("{name}", over=Axis("{name}"))
"""


def install(folder: Path, count: int) -> int:
    """Lay out distributions as an installer does, and return how many plugins they have in our group.

    The first has eight plugins, as ours has; of the others every tenth has one, and every fourth
    has a command line. The rest, most of them, have no entry points at all.
    """
    plugins = 0
    for number in range(count):
        name = f"dist_{number:03}"
        info = folder / f"{name}-1.{number}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\nSummary: A distribution\n"
        classifiers = "Classifier: Programming Language :: Python :: 3\n" * 12
        info.joinpath("METADATA").write_text(f"{head}{classifiers}\n" + "A line of the long description.\n" * 120)
        info.joinpath("RECORD").write_text(f"{name}/__init__.py,,\n" * 20)
        ours = [f"mode_{number:03}_{k}" for k in range(8 if number == 0 else number % 10 == 0)]
        lines = ["[pgregistry]", *(f"{mode} = plugin_{mode}" for mode in ours)] if ours else []
        if number % 4 == 1:
            lines += ["[console_scripts]", f"{name} = {name}.cli:main"]
        if lines:
            info.joinpath("entry_points.txt").write_text("\n".join(lines))
        for mode in ours:
            folder.joinpath(f"plugin_{mode}.py").write_text(PLUGIN.format(name=mode))
        plugins += len(ours)
    return plugins


def only_these(folder: str) -> None:
    """Remove every other installed distribution from the path."""
    sys.path[:] = [folder, *(path for path in sys.path if not any(Path(path).glob("*.dist-info")))]


def way(name: str) -> Callable[[], object]:
    """Return one way to find plugins, with all that it needs imported."""
    from pgregistry import hookspecs
    from pgregistry.registry import discovery
    from pgregistry.registry import manager as registry
    from pgregistry.settings.merge import Settings

    def with_pluggy() -> int:
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        return manager.load_setuptools_entrypoints(discovery.ON_WHEN_INSTALLED)

    ways: dict[str, Callable[[], object]] = {
        "entry_points": importlib.metadata.entry_points,
        "discover": discovery.discover,
        "load": lambda: registry.Registry.load(Settings()),
        "pluggy": with_pluggy,
    }
    return ways[name]


def seconds(name: str, folder: str) -> tuple[float, float]:
    """Return the seconds of the first call in this fresh process, and the median of many more."""
    call = way(name)
    only_these(folder)
    return measure.timed(call), measure.repeated(call)


def main() -> None:
    labels = {
        "entry_points": "importlib.metadata.entry_points()",
        "discover": "pgregistry: discover(), imports no plugin",
        "load": "pgregistry: discover, import and register",
        "pluggy": "pluggy: find, import and register",
    }
    with tempfile.TemporaryDirectory() as temporary:
        for count in COUNTS:
            folder = Path(temporary, str(count))
            folder.mkdir()
            plugins = install(folder, count)
            measure.child(__file__, "seconds", "load", str(folder))  # compiles the plugins
            answers = [
                {name: measure.child(__file__, "seconds", name, str(folder)) for name in labels} for _ in range(ROUNDS)
            ]
            first, warm = ({name: median(one[name][i] for one in answers) for name in labels} for i in (0, 1))
            rows = []
            for name, label in labels.items():
                peer = "pluggy" if name in ("load", "pluggy") else "entry_points"
                ratios = [f"{times[name] / times[peer]:.2f} ×" for times in (first, warm)]
                rows.append((label, measure.duration(first[name]), ratios[0], measure.duration(warm[name]), ratios[1]))
            columns = (f"{count} distributions, {plugins} plugins", "first call", "÷ peer", "later calls", "÷ peer")
            measure.show(
                f"Discovery with {count} distributions installed",
                columns,
                rows,
                "Aim: close to the peer. discover() is compared with entry_points(), loading with pluggy's loader.",
            )


if __name__ == "__main__":
    measure.run(main, {"seconds": seconds})
