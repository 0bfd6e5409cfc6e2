"""Measure loopback, from the start of all processes to a proved collective in each group of each rank.

Processes are forked from a server that has imported torch and whatever else is measured, so no
import counts. Megatron-Core is put into a temporary folder and uses the torch that is here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from statistics import median
from typing import Any

import measure
import worlds

ROUNDS = {64: 5, 128: 5}
#: What `init` does beside making process groups, each step with the functions that do it.
EXTRA = {
    "meeting the other ranks": ("find_process",),
    "finding plugins, planning": ("Attempt.at",),
    "agreeing on the plan": ("Attempt.proposal", "Agreement.reach"),
    "confirming that all are done": ("barrier",),
}
MEGATRON = "megatron-core==0.16.1"


def whole(way: str, world: int, *arguments: Any) -> dict[str, float]:
    """Return when this rank was done, what it has and what it cost."""
    extra: dict[str, float] = {}
    cpu = time.process_time()
    if way == "ours":
        extra = note_extra()
        groups = worlds.ours(world, *arguments)
    else:
        worlds.dist.init_process_group("gloo")
        groups = globals().get(way, getattr(worlds, way, None))(world, *arguments)
    worlds.prove(groups)
    answer = {"ended": time.monotonic(), "groups": len(set(map(id, groups)))}
    return {**answer, "cpu": time.process_time() - cpu, "private": worlds.private_mib(), **extra}


def note_extra() -> dict[str, float]:
    """Have `init` note the CPU seconds of each step of EXTRA, and return where."""
    from pgregistry.runtime import initialize

    spent = dict.fromkeys(EXTRA, 0.0)
    for step, names in EXTRA.items():
        for name in names:
            owner, _, attribute = name.rpartition(".")
            note(getattr(initialize, owner) if owner else initialize, attribute, step, spent)
    return spent


def note(owner: Any, name: str, step: str, spent: dict[str, float]) -> None:
    real = getattr(owner, name)

    def noted(*arguments: Any, **keywords: Any) -> Any:
        begun = time.process_time()
        try:
            return real(*arguments, **keywords)
        finally:
            spent[step] += time.process_time() - begun

    setattr(owner, name, staticmethod(noted) if name == "at" else noted)


def megatron(world: int, gloo: bool) -> list[Any]:
    """Return all process groups that it makes for this rank, in the order that all ranks share."""
    from megatron.core import parallel_state
    from torch.distributed.distributed_c10d import _world

    parallel_state.initialize_model_parallel(2, 2, create_gloo_process_groups=gloo)
    return list(_world.pg_map)


def install(folder: str) -> str:
    """Put Megatron-Core into a folder without its dependencies; return why it cannot be imported, or an empty text."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, MEGATRON]
    done = subprocess.run(command, env=measure.environment(), capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    code = f"import sys; sys.path.append({folder!r}); from megatron.core import parallel_state"
    done = subprocess.run([sys.executable, "-c", code], env=measure.environment(), capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["cannot be imported"])[-1] if done.returncode else ""


#: Each way: what runs on a rank, with its arguments, and the environment.
WAYS: dict[str, tuple[tuple[Any, ...], dict[str, str]]] = {
    "pgregistry, 3 modes": (("ours", worlds.THREE), {}),
    "pgregistry, 6 modes": (("ours", worlds.SIX), {}),
    "pgregistry, 8 modes (bundled)": (("ours",), {}),
    "pgregistry, 3 modes, gloo connects when it is used": (("ours", worlds.THREE), worlds.WHEN_USED),
    "pgregistry, 6 modes, gloo connects when it is used": (("ours", worlds.SIX), worlds.WHEN_USED),
    "init_device_mesh, 3 dimensions": (("mesh",), {}),
    "  with the two variables of gloo that we set": (("mesh",), worlds.FEW_CALLS),
    "  and gloo connects when it is used": (("mesh",), {**worlds.FEW_CALLS, **worlds.WHEN_USED}),
    "init_device_mesh, 5 families": (("mesh_of_five",), {}),
    "loop with new_group, 6 modes": (("loop",), {}),
    "Megatron-Core": (("megatron", True), {}),
    "Megatron-Core, no gloo duplicates": (("megatron", False), {}),
}


def run_ways(world: int, rounds: int, names: list[str], folder: str = "") -> dict[str, list[dict[str, float]]]:
    """Return by way, for each round, the seconds until the last rank was done, and the most that ranks returned.

    Args:
        world: How many ranks.
        rounds: How often; the ways take turns.
        names: Which ways.
        folder: Where Megatron-Core is; its import makes every way slower, so it has a table of its own.
    """
    sys.path += [folder] * bool(folder)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            (way, *arguments), environ = WAYS[name]
            ran = worlds.run_ranks(world, partial(whole, way, world, *arguments), environ=environ)
            most = {key: max(answer[key] for answer in ran.answers) for key in ran.answers[0]}
            means = {key: sum(answer[key] for answer in ran.answers) / world for key in most if key in ("cpu", *EXTRA)}
            results[name].append({**most, "seconds": most["ended"] - ran.begun, **means})
    return results


def show(world: int, results: dict[str, list[dict[str, float]]], aims: dict[str, str], *notes: str) -> None:
    times = {name: median(one["seconds"] for one in each) for name, each in results.items()}
    mine = [name for name in times if name.startswith("pgregistry")][:2]
    rows = []
    for name, each in results.items():
        versus = ["" if name.startswith("pgregistry") else f"{times[name] / times[one]:.2f} ×" for one in mine]
        numbers = [median(one[key] for one in each) for key in ("groups", "cpu", "private")]
        cells = (f"{numbers[0]:.0f}", measure.duration(numbers[1]), measure.mib(max(one["private"] for one in each)))
        rows.append((name, measure.duration(times[name]), *versus, aims.get(name, ""), *cells))
    short = [f"÷ {name.removeprefix('pgregistry, ')}" for name in mine]
    columns = (f"{world} ranks, loopback", "time", *short, "aim", "groups", "CPU per rank", "private")
    measure.show(f"From process start to proved groups, {world} ranks", columns, rows, *notes)


def show_extra(world: int, results: dict[str, list[dict[str, float]]]) -> None:
    names = [name for name in results if name.startswith("pgregistry")][:2]
    spent = {name: {step: median(one[step] for one in results[name]) for step in EXTRA} for name in names}
    rows = [(step, *(measure.duration(spent[name][step]) for name in names)) for step in EXTRA]
    rows.append(("all of it", *(measure.duration(sum(spent[name].values())) for name in names)))
    measure.show(
        f"What init does beside making process groups, CPU of a rank, {world} ranks",
        ("step", *names),
        rows,
        "Aim: at most 4 ms.",
    )


def main() -> None:
    usual = [name for name in WAYS if not name.startswith("Megatron")]
    for world, rounds in ROUNDS.items():
        aim = "≥ 1.3 ×" if world == 64 else "≥ 2 ×"
        results = measure.child(__file__, "run_ways", world, rounds, usual)
        show(world, results, {name: aim for name in usual if name.startswith("init")})
        show_extra(world, results)
    with tempfile.TemporaryDirectory() as folder:
        if missing := install(folder):
            print(f"Megatron-Core ({MEGATRON}) could NOT be measured here: {missing}")
            return
        beside = ["pgregistry, 6 modes", *(name for name in WAYS if name.startswith("Megatron"))]
        results = measure.child(__file__, "run_ways", 64, ROUNDS[64], beside, folder)
        show(64, results, dict.fromkeys(beside[1:], "≥ 4 ×"))


if __name__ == "__main__":
    measure.run(main, {"run_ways": run_ways})
