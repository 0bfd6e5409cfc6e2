"""The fault matrix, rows in which a rank is killed: what all others raise."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from fault_ranks import attempt, check, replaced, write_distributions
from fault_table import FAULTS, PATIENCE, PLACES, Fault
from ranks import run_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one folder for each distribution."""
    return write_distributions(tmp_path_factory.mktemp("distributions"))


def survivors(
    size: int, dead: int, function: Callable[..., Any], *args: Any, folder: Path, world: bool = True
) -> dict[int, dict[str, Any]]:
    """Return the outcomes of the others when one rank is killed, from files, since `run_ranks` fails then."""
    with pytest.raises(AssertionError) as raised:
        run_ranks(size, told, str(folder), function, dead, *args, world=world, timeout=80)
    found = re.findall(r"^rank (\d+):\nended with (-?\d+)", str(raised.value), re.MULTILINE)
    assert found == [(str(dead), str(-signal.SIGKILL))], str(raised.value)
    assert len(re.findall(r"^rank \d+:$", str(raised.value), re.MULTILINE)) == 1, str(raised.value)
    return {rank: json.loads((folder / f"{rank}.json").read_text()) for rank in range(size) if rank != dead}


def told(folder: str, function: Callable[..., Any], dead: int, *args: Any) -> None:
    rank = int(os.environ["RANK"])
    answer = function(dead, *args)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(answer))


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(dead: int, fault: Fault, moment: str, folder: Path) -> dict[str, Any]:
    """Be killed at a moment, if this is the rank; what it says otherwise."""
    from pgregistry.coordination.store.scoped_store import ScopedStore
    from pgregistry.runtime import initialize
    from pgregistry.torch_private import group_creation

    rank = int(os.environ["RANK"])
    if dist.is_initialized():
        dist.barrier()
    if rank == dead:
        if moment == "read":  # its addresses are told, and nobody can connect to it
            read = ScopedStore.read

            def read_some(self: ScopedStore, keys: Any, seconds: float) -> Any:
                return die() if keys[0].startswith("addresses/") else read(self, keys, seconds)

            ScopedStore.read = read_some  # type: ignore[method-assign]
        elif moment == "create_group":  # in the middle of several process groups
            create, created = group_creation.create_group, []

            def create_some(ranks: Any, *args: Any, **keywords: Any) -> Any:
                created.append(ranks)
                return create(ranks, *args, **keywords) if len(created) == 1 else die()

            group_creation.create_group = create_some
        elif moment == "new_group":
            new_group, called = dist.new_group, []

            def call_some(*args: Any, **kwargs: Any) -> Any:
                called.append(args)
                return new_group(*args, **kwargs) if len(called) <= 3 else die()

            dist.new_group = call_some  # type: ignore[assignment]
        else:
            wait_first = 2 if dead == 0 and not dist.is_initialized() else 0  # the others are to meet its store
            setattr(initialize, moment, lambda *_, **__: (time.sleep(wait_first), die()))
    sizes = {"agree_timeout": PATIENCE} if moment == "Agreement" else {"tensor": 2, "pipe": 2, "agree_timeout": 60}
    return attempt(replaced(fault, **sizes), folder, odd=False)


KILLED = {fault.kind: fault.tried for fault in FAULTS if "killed" in fault.tried}


@pytest.mark.parametrize(
    ("kind", "size", "odd"),
    [
        (kind, size, odd)
        for kind, tried in KILLED.items()
        for size, odd in PLACES
        if "launcher" not in tried or (odd == 0) == tried.startswith("host")  # the first one hosts the store
    ],
)
def test_a_killed_rank_ends_the_wait_of_all_others(
    kind: str, size: int, odd: int, folder: Path, tmp_path: Path
) -> None:
    (fault,) = [fault for fault in FAULTS if fault.kind == kind]
    moment = fault.tried.partition("killed in ")[2].partition(",")[0]
    world = "launcher" not in fault.tried
    answers = survivors(size, odd, killed, fault, moment, folder, folder=tmp_path, world=world)
    check(fault, size, odd, answers)


#: What all others raise if gloo connects when it is used: no connection fails before the last confirmation.
LATER = {"killed in build, its addresses published": "{Odd}", "killed with all its process groups made": "{Odd}"}


@pytest.mark.parametrize("odd", [0, 7])
@pytest.mark.parametrize("kind", [kind for kind in KILLED if "store's host" not in kind and "before" not in kind])
def test_a_killed_rank_is_named_where_gloo_connects_when_it_is_used(
    kind: str, odd: int, folder: Path, tmp_path: Path
) -> None:
    (fault,) = [fault for fault in FAULTS if fault.kind == kind]
    moment = fault.tried.partition("killed in ")[2].partition(",")[0]
    world = "launcher" not in fault.tried
    if not world and odd == 0:
        pytest.skip("it hosts the store")
    if says := LATER.get(kind):
        fault = replace(fault, says=says, named=(says,))
    fault = replace(fault, env_all={**fault.env_all, "TORCH_GLOO_LAZY_INIT": "1"})
    answers = survivors(8, odd, killed, fault, moment, folder, folder=tmp_path, world=world)
    check(fault, 8, odd, answers)
