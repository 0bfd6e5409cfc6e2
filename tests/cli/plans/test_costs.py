"""`plan --costs`: what it says of a rank is what is counted on real ranks."""

from __future__ import annotations

import json
import os
import socket
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import pgregistry
from pgregistry import HOST, WORLD, Mode, Split, cli
from pgregistry.building.specs import Defaults
from pgregistry.cli.plans.costs import Costs, costs
from pgregistry.testing import LocalRanks


def test_modes_with_equal_groups_share_and_the_default_process_group_is_there() -> None:
    plan = pgregistry.plan(8, tensor=2, only=["data", "dummy", "global", "tensor", "zero1"])
    assert costs(plan, 3, Defaults("gloo")) == Costs(3, 5, 3, 7, 4)
    assert costs(plan, 3, Defaults("nccl")) == Costs(3, 5, 3, 5, 0)
    assert (
        costs(plan, 3, Defaults("nccl", cpu=True)).process_groups == 7
    )  # three of NCCL, and gloo beside each and global


def test_the_costs_follow_the_table_and_are_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    words = "plan 8 tensor=2 --only data,tensor --costs"
    assert cli.run(words.split()) == 0
    shown = capsys.readouterr().out.splitlines()
    costs_of_rank, *explained = shown[-4:]
    assert costs_of_rank == "init costs rank 0: 2 groups, 2 process groups to build, 7 store calls, 4 gloo connections"
    assert [line.partition(":")[0] for line in explained] == ["  process group", "  store call", "  gloo connection"]
    assert cli.run([*words.split(), "--rank", "5", "--backend", "nccl", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    counted = {"rank": 5, "groups": 2, "process_groups": 2, "store_calls": 5, "connections": 0}
    assert document["costs"] == counted


def sockets() -> set[str]:
    """Return the TCP connections of this process."""
    mine = {str(os.readlink(link)) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    texts = [Path("/proc/self/net", name).read_text(encoding="utf-8") for name in ("tcp", "tcp6")]
    lines = [line.split() for text in texts for line in text.splitlines()[1:]]
    return {line[9] for line in lines if line[3] != "0A" and f"socket:[{line[9]}]" in mine}  # 0A: it listens


def counted(keywords: dict[str, Any], size: int, port: int) -> tuple[int, int, int]:
    """Return how many process groups this rank has built, its store calls, and the connections it has made."""
    import torch.distributed as dist
    from counting import Counting

    rank = int(os.environ["RANK"])
    store = Counting(dist.TCPStore("127.0.0.1", port, size, rank == 0, wait_for_workers=False))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    dist.barrier()
    before = sockets()
    store.calls.clear()
    with pgregistry.init(**keywords) as context:
        calls = len(list(groupby(store.calls)))  # a wait that is repeated counts once
        context.verify()
        made = sockets() - before
        built = len(context.process_groups.created)
        dist.barrier()
    return built, calls, len(made)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 16])
def test_the_costs_are_what_is_counted_on_real_ranks(size: int) -> None:
    last = Mode("last", over="data", where={"pipe": -1})
    cases: list[dict[str, Any]] = [
        {"tensor": 2, "pipe": 2},
        {"tensor": 2, "pipe": 2, "zero1": 2, "nettest": 3, "extra": [last]},
        {"only": ["data"]},
        {"ranks_per_host": 4, "extra": [Mode("host", over=Split(WORLD, inner="host", size=HOST))]},
    ]
    with LocalRanks() as ranks:
        for keywords in cases:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            plan = pgregistry.plan(size, **keywords)
            found = ranks.run(size, counted, keywords, size, port, world=False)
            for rank, (built, _, made) in enumerate(found):
                expected = costs(plan, rank, Defaults("gloo"))
                assert (built, made) == (expected.process_groups, expected.connections), (rank, keywords)
            # A rank that waits long for others asks once more.
            least = min(calls for _, calls, _ in found)
            assert least == min(costs(plan, rank, Defaults("gloo")).store_calls for rank in range(size))
