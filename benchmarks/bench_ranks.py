"""Measure how soon local ranks return: the fixture of pgregistry.testing beside torch's own ways to start processes.

Each way starts ranks, each rank joins a gloo world adds up a tensor, and returns the sum.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import measure

import pgregistry.testing

RANKS, ROUNDS = 4, 5


def add_up() -> float:
    import torch
    import torch.distributed as dist

    value = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(value)
    return value.item()


def by_fixture(ranks: pgregistry.testing.LocalRanks | None) -> None:
    run = pgregistry.testing.run_ranks if ranks is None else ranks.run
    assert run(RANKS, add_up) == [6.0] * RANKS


def of_spawn(rank: int, folder: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    (Path(folder) / str(rank)).write_text(str(add_up()))
    os._exit(0)


def by_spawn() -> None:
    import torch.multiprocessing

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(of_spawn, args=(folder,), nprocs=RANKS)
        assert [(Path(folder) / str(rank)).read_text() for rank in range(RANKS)] == ["6.0"] * RANKS


def of_elastic(folder: str) -> float:
    rank = int(os.environ["RANK"])
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    return add_up()


def by_elastic() -> None:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=RANKS,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            run_id="ranks",
            max_restarts=0,
        )
        answers: dict[int, Any] = elastic_launch(config, of_elastic)(folder)
    assert sorted(answers.values()) == [6.0] * RANKS


def main() -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    with pgregistry.testing.LocalRanks() as ranks:
        ranks.run(1, add_up)
        ways: dict[str, Callable[[], None]] = {
            "fixture run_ranks, second test on": lambda: by_fixture(ranks),
            "fixture run_ranks, first test": lambda: by_fixture(None),
            "torch.multiprocessing.spawn": by_spawn,
            "torch elastic_launch": by_elastic,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                times[name].append(measure.timed(way))
    peer = median(times["torch.multiprocessing.spawn"])
    rows = [
        (name, measure.duration(median(taken)), measure.duration(max(taken)), f"{median(taken) / peer:.3f} ×")
        for name, taken in times.items()
    ]
    columns = (f"{RANKS} ranks, from the call to all answers", "median", "slowest", "÷ spawn")
    measure.show(
        "Local ranks", columns, rows, "Aim: 4 ranks in under 2 s on 2 cores, the first import of torch included."
    )


if __name__ == "__main__":
    main()
