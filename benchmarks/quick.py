"""Run every claim of README beside its peers in some minutes, and write docs/benchmarks.md with its plots.

The other scripts look at one claim each, more closely and for longer: `make bench-all`.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import bench_discovery
import bench_mismatch
import measure
import worlds

ROOT: Final = Path(__file__).parents[1]
ROUNDS: Final = 3
WORLDS: Final = (4, 8, 16)
PLANNED: Final = tuple(1 << power for power in (10, 14, 17, 20))
INSTALLED: Final = (30, 100, 300)

NOTES: Final = """A loop with `new_group` and `init_device_mesh` build the same groups, but for the mode nettest, whose
threes no mesh can have. The mesh on the fake backend registers three families of groups in one process. A plan has
eight, and no process group. `pgregistry.init` also compares the plans of all ranks. With another size on one rank, a
loop with `new_group` has no error before torch's timeout, which is 30 minutes for gloo: `bench_mismatch.py` measures it
with 3 s. [benchmarks/README.md](../benchmarks/README.md) looks closer at each."""

#: Numbers by what was measured, and then by the size.
Series = Mapping[str, Mapping[int, float]]


def built(world: int, way: str) -> tuple[float, float]:
    """Return the seconds from an existing world to proved process groups, and the store calls until then."""
    store = worlds.watched_world()
    worlds.together()
    store.reset()
    begun = time.monotonic()
    groups = worlds.ours(world, worlds.SIX) if way == "ours" else getattr(worlds, way)(world)
    calls = store.calls
    worlds.prove(groups)
    return time.monotonic() - begun, calls


def building() -> tuple[Series, Series]:
    """Return the seconds of the slowest rank, and the store calls of the busiest, to build the groups of six modes."""
    ways = {"pgregistry.init": "ours", "a loop with new_group": "loop", "init_device_mesh": "mesh_of_five"}
    seconds: dict[str, dict[int, float]] = {name: {} for name in ways}
    calls: dict[str, dict[int, float]] = {name: {} for name in ways}
    for world in WORLDS:
        for name, way in ways.items():
            rounds = [worlds.run_ranks(world, partial(built, world, way)).answers for _ in range(ROUNDS)]
            seconds[name][world] = median(max(one for one, _ in answers) for answers in rounds)
            # A rank that waits long asks once more, which is a matter of the machine.
            calls[name][world] = min(max(one for _, one in answers) for answers in rounds)
    return seconds, calls


def planning() -> Series:
    """Return the seconds to plan eight modes, beside a mesh of three dimensions on torch's fake backend."""
    import pgregistry

    ours = {size: measure.repeated(partial(pgregistry.plan, size, tensor=8, pipe=16)) for size in PLANNED}
    peer = dict(zip(PLANNED, measure.child(__file__, "meshes", PLANNED), strict=True))
    return {"pgregistry.plan": ours, "init_device_mesh, fake backend": peer}


def meshes(sizes: list[int]) -> list[float]:
    """Return the seconds of `init_device_mesh` for worlds of one process and of torch's fake backend."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    seconds = []
    for size in sizes:
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=size)
        shape = (size // 128, 16, 8)
        seconds.append(measure.timed(partial(init_device_mesh, "cpu", shape, mesh_dim_names=worlds.THREE)))
        dist.destroy_process_group()
    return seconds


def refusing() -> Series:
    """Return the seconds from the last rank's call until every rank raises, if one has another size."""
    kind = next(iter(bench_mismatch.KINDS))
    found: dict[int, float] = {}
    for world in WORLDS:
        rounds = [worlds.run_ranks(world, partial(bench_mismatch.refused, 0, kind)).answers for _ in range(ROUNDS)]
        found[world] = median(bench_mismatch.after(answers, max) for answers in rounds)
    return {"pgregistry.init: until every rank raises": found}


def discovering() -> Series:
    """Return the CPU seconds to find and load plugins in a fresh process; a third of the distributions has one."""
    ways = {"pgregistry.plan(8): find, load, plan": "plan", "pluggy: find and register": "pluggy"}
    found: dict[str, dict[int, float]] = {name: {} for name in ways}
    with tempfile.TemporaryDirectory() as temporary:
        for count in INSTALLED:
            folder = Path(temporary, str(count))
            folder.mkdir()
            bench_discovery.install(folder, count, count // 3)
            measure.child(bench_discovery.__file__, "seconds", "plan", str(folder))  # compiles the plugins
            for name, way in ways.items():
                rounds = [measure.child(bench_discovery.__file__, "seconds", way, str(folder)) for _ in range(ROUNDS)]
                found[name][count] = median(first for first, _ in rounds)
    return found


def plot(name: str, title: str, across: str, unit: str, series: Series) -> None:
    """Draw one plot into docs/benchmarks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    for (label, values), style in zip(series.items(), ("o-", "s--", "^:"), strict=False):
        axes.plot(list(values), list(values.values()), style, label=label)
    axes.set(title=title, xlabel=across, ylabel=unit, xscale="log")
    sizes = sorted({size for values in series.values() for size in values})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    spread = [value for values in series.values() for value in values.values()]
    axes.set_yscale("log" if max(spread) > 20 * min(spread) else "linear")
    axes.legend(frameon=False)
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def table(across: str, series: Series, shown: Callable[[float], str]) -> str:
    """Return the numbers as Markdown."""
    sizes = list(next(iter(series.values())))
    head = f"| {across} | {' | '.join(f'{size:,}' for size in sizes)} |\n|---|{'---|' * len(sizes)}"
    rows = [f"| {name} | {' | '.join(map(shown, values.values()))} |" for name, values in series.items()]
    return "\n".join([head, *rows])


def main() -> None:
    begun = time.monotonic()
    seconds, calls = building()
    parts: list[tuple[str, str, str, str, Series, Callable[[float], str]]] = [
        ("set-up", "Set-up: six modes, from a world that is there", "ranks", "s", seconds, measure.duration),
        ("store-calls", "Store calls of the busiest rank", "ranks", "calls", calls, lambda one: f"{one:.0f}"),
        ("planning", "Planning", "ranks", "s", planning(), measure.duration),
        ("faults", "One rank with another size", "ranks", "s", refusing(), measure.duration),
        ("discovery", "Plugins among distributions, CPU time", "distributions", "s", discovering(), measure.duration),
    ]
    million = parts[2][4]["pgregistry.plan"][PLANNED[-1]]
    counted = sorted({round(one) for one in calls["pgregistry.init"].values()})
    said = " to ".join(map(str, dict.fromkeys((counted[0], counted[-1]))))  # a rank that waits for long asks again
    calls_said = f"{said} store calls of each rank from {WORLDS[0]} to {WORLDS[-1]} ranks"
    ours, *peers = (measure.duration(series[WORLDS[-1]]) for series in parts[0][4].values())
    set_up = f"{ours} to set up {WORLDS[-1]} local ranks (`new_group` {peers[0]}, `init_device_mesh` {peers[1]})"
    summary = f"{calls_said}; {set_up}; {measure.duration(million)} to plan 1,048,576 ranks"
    machine = f"{os.cpu_count()} cores at load average {os.getloadavg()[0]:.0f}, {platform.system()}"
    versions = f"Python {platform.python_version()}, torch {version('torch')} with gloo, pluggy {version('pluggy')}"
    took = f"`make bench` measured this page in {time.monotonic() - begun:.0f} s on {date.today()}"
    how = f"Numbers are medians of {ROUNDS} rounds. All sides ran in the same minutes."
    lines = ["# Benchmarks", f"{took}: {machine}, {versions}. {how}", f"In short: {summary}."]
    for name, title, across, unit, series, shown in parts:
        plot(name, title, across, unit, series)
        lines += [f"## {title}", f"![{title}](benchmarks/{name}.svg)", table(across, series, shown)]
    lines.append(NOTES)
    (ROOT / "docs" / "benchmarks.md").write_text("\n\n".join(map(folded, lines)) + "\n", encoding="utf-8")
    readme = ROOT / "README.md"
    row = f"| what does it cost? | {summary}: [docs/benchmarks.md](docs/benchmarks.md). `pgregistry plan --costs` |"
    readme.write_text(re.sub(r"^\| what does it cost\? .*$", row, readme.read_text(encoding="utf-8"), flags=re.M))


def folded(text: str) -> str:
    """Return a paragraph in lines of at most 120 characters; a table and a picture stay as they are."""
    if text.startswith(("|", "!", "#")):
        return text
    lines, words = [""], text.split()
    for word in words:
        if len(lines[-1]) + len(word) >= 120:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


if __name__ == "__main__":
    measure.run(main, {"meshes": meshes})
