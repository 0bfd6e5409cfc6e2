"""Loopback, from the start of all processes to a proved collective in each group of each rank.

Processes are forked from a server that has imported torch and whatever else is measured, so no
import counts; one line shows what ours would cost. Megatron-Core is put into a temporary folder
and uses the torch that is here.
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

ROUNDS = {64: 5, 128: 3}
MEGATRON = "megatron-core==0.16.1"


def whole(way: str, world: int, *arguments: Any) -> dict[str, float]:
    """When this rank was done, what it has and what it cost."""
    cpu = time.process_time()
    if way == "ours":
        groups = worlds.ours(world, *arguments)
    else:
        worlds.dist.init_process_group("gloo")
        groups = globals().get(way, getattr(worlds, way, None))(world, *arguments)
    worlds.prove(groups)
    answer = {"ended": time.monotonic(), "groups": len(set(map(id, groups)))}
    return {**answer, "cpu": time.process_time() - cpu, "private": worlds.private_mib()}


def megatron(world: int, gloo: bool) -> list[Any]:
    """All process groups that it makes for this rank, in the order that all ranks share."""
    from megatron.core import parallel_state
    from torch.distributed.distributed_c10d import _world

    parallel_state.initialize_model_parallel(2, 2, create_gloo_process_groups=gloo)
    return list(_world.pg_map)


def as_many(count: int) -> list[Any]:
    """Modes of a third party that share with no other, so that each rank has so many process groups."""
    from pgregistry import Mode

    over = ("data", "tensor", "pipe", ("data", "tensor"), ("pipe", "tensor"))
    return [Mode(f"more {n}", over=over[n % len(over)], dedicated=True) for n in range(count)]


def more(world: int, count: int) -> list[Any]:
    return worlds.ours(world, worlds.SIX, as_many(count))


def install(folder: str) -> str:
    """Put Megatron-Core into a folder without what it asks for; why not, if it cannot be imported."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, MEGATRON]
    done = subprocess.run(command, env=measure.environment(), capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    sys.path.append(folder)
    code = f"import sys; sys.path.append({folder!r}); from megatron.core import parallel_state"
    done = subprocess.run([sys.executable, "-c", code], env=measure.environment(), capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["cannot be imported"])[-1] if done.returncode else ""


def run_ways(world: int, ways: dict[str, tuple[Any, dict[str, str]]]) -> dict[str, list[dict[str, float]]]:
    """By way: for each round, the seconds until the last rank was done, and the most of what ranks answer."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS[world]):
        for name, (job, environ) in ways.items():
            ran = worlds.run_ranks(world, job, environ=environ)
            most = {key: max(answer[key] for answer in ran.answers) for key in ran.answers[0]}
            cpu = sum(answer["cpu"] for answer in ran.answers) / world
            results[name].append({**most, "seconds": most["ended"] - ran.begun, "cpu": cpu})
    return results


def show(world: int, results: dict[str, list[dict[str, float]]], peers: dict[str, str], *notes: str) -> None:
    times = {name: median(one["seconds"] for one in each) for name, each in results.items()}
    mine = [name for name in times if name.startswith("pgregistry")]
    rows = []
    for name, each in results.items():
        versus = [f"{times[name] / times[one]:.2f} ×" if name not in mine else "" for one in mine[:2]]
        numbers = [median(one[key] for one in each) for key in ("groups", "cpu", "private")]
        cells = (f"{numbers[0]:.0f}", measure.duration(numbers[1]), measure.mib(max(one["private"] for one in each)))
        rows.append((name, measure.duration(times[name]), *versus, peers.get(name, ""), *cells))
    short = [f"÷ {name.removeprefix('pgregistry, ')}" for name in mine[:2]]
    columns = (f"{world} ranks, loopback", "time", *short, "aim", "groups", "CPU per rank", "private")
    measure.show(f"From process start to proved groups, {world} ranks", columns, rows, *notes)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        missing = install(folder)
        for world in ROUNDS:
            ways: dict[str, tuple[Any, dict[str, str]]] = {
                "pgregistry, 3 modes": (partial(whole, "ours", world, worlds.THREE), {}),
                "pgregistry, 6 modes": (partial(whole, "ours", world, worlds.SIX), {}),
                "pgregistry, 8 modes (bundled)": (partial(whole, "ours", world), {}),
                "init_device_mesh, 3 dimensions": (partial(whole, "mesh", world), {}),
                "  with the two variables of gloo that we set": (partial(whole, "mesh", world), worlds.FEW_CALLS),
                "init_device_mesh, 5 families": (partial(whole, "mesh_of_five", world), {}),
            }
            aim = "≥ 1.3 ×" if world == 64 else "≥ 2 ×"
            aims = {name: aim for name in ways if name.startswith("init")}
            if world == 64:
                ways["loop with new_group, 6 modes"] = (partial(whole, "loop", world), {})
                if not missing:
                    ways["Megatron-Core"] = (partial(whole, "megatron", world, True), {})
                    ways["Megatron-Core, no gloo duplicates"] = (partial(whole, "megatron", world, False), {})
                    aims |= {name: "≥ 4 ×" for name in ways if name.startswith("Megatron")}
            notes = [f"Megatron-Core ({MEGATRON}) could NOT be measured here: {missing}"] if missing else []
            show(world, run_ways(world, ways), aims, *notes)


if __name__ == "__main__":
    main()
