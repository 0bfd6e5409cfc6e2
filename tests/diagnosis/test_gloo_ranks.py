"""Records of real gloo ranks, dumped by torch beside a main thread that waits."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import needs
import pytest
from ranks import run_ranks

import pgregistry

#: Seconds in which all ranks are where they will stand, and in which torch ends what they wait in.
STILL, TIMEOUT = 2.0, 6.0
FAULTS = ["nothing", "other collective", "other sizes", "other group", "recv", "order"]


def meet(place: str, rank: int, count: int) -> None:
    """Wait until as many ranks are here, however long it takes each on a machine with other work to do."""
    Path(f"{place}.{rank}").touch()
    while not all(Path(f"{place}.{other}").exists() for other in range(count)):
        time.sleep(0.01)


def dump(folder: str, rank: int, count: int) -> None:
    from torch._C import _distributed_c10d as c10d

    meet(f"{folder}.begun", rank, count)
    time.sleep(STILL)
    text = getattr(c10d, "_dump_fr_trace_json" if rank % 2 else "_dump_fr_trace")()
    data = text if isinstance(text, bytes) else text.encode()
    Path(folder, f"trace_{rank}{'.json' * (rank % 2)}").write_bytes(data)
    meet(f"{folder}.dumped", rank, count)  # before the odd rank goes on


def one_goes_astray(folder: str, fault: str, odd: int) -> str:
    """Train a little; then one rank does something else, and torch's records are written."""
    import torch
    import torch.distributed as dist

    with pgregistry.init(tensor=2, timeout=TIMEOUT, only=["global", "tensor", "data"]) as context:
        world, tensor, data = (context.group(name) for name in ("global", "tensor", "data"))
        for group in (tensor, data, world):
            dist.all_reduce(torch.ones(4), group=group)
        thread = Thread(target=dump, args=(folder, context.rank, len(context["global"].ranks)))
        thread.start()
        wrong = context.rank == odd
        try:
            if wrong and fault == "nothing":
                thread.join()
            elif wrong and fault == "other collective":
                dist.all_gather([torch.ones(4) for _ in context["global"].ranks], torch.ones(4), group=world)
            elif wrong and fault == "other sizes":
                dist.all_reduce(torch.ones(8), group=world)
            elif wrong and fault == "other group":
                dist.all_reduce(torch.ones(4), group=data)
            elif wrong and fault == "recv":
                dist.recv(torch.ones(4), context["tensor"].next)
            elif wrong and fault == "order":
                dist.all_reduce(torch.ones(4), group=tensor)
            dist.all_reduce(torch.ones(4), group=world)
            dist.all_reduce(torch.ones(4), group=tensor)
        except RuntimeError as error:
            return str(error)[:20]
        finally:
            thread.join()
    return "ended"


def diagnosed(folder: Path, fault: str, odd: int, count: int) -> dict[bool, dict[int, str]]:
    """The culprits with the plan and without it."""
    run_ranks(count, partial(one_goes_astray, str(folder), fault, odd), world=False, timeout=60)
    plan = pgregistry.plan(count, tensor=2, only=["global", "tensor", "data"])
    return {
        known: {one.rank: one.kind for one in pgregistry.diagnose(folder, plan if known else None).guilty}
        for known in (True, False)
    }


def kind_of(fault: str) -> str:
    kinds: dict[str, Any] = {"other collective": "mismatch", "other sizes": "mismatch"}
    return kinds.get(fault, "process" if fault in ("nothing", "recv") else "deadlock")


@needs.RECORDS
def test_a_rank_that_does_not_come_is_named_from_the_records_of_torch(tmp_path: Path) -> None:
    assert diagnosed(tmp_path, "nothing", 3, 4) == {True: {3: "process"}, False: {3: "process"}}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("count", "odd"), [(4, 0), (4, 3), (8, 0), (8, 7)])
def test_the_odd_rank_is_named_and_nobody_else(fault: str, count: int, odd: int, tmp_path: Path) -> None:
    found = diagnosed(tmp_path, fault, odd, count)
    assert found[True] == {odd: kind_of(fault)}
    assert found[False].keys() == {odd}
