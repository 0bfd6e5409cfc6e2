"""The fault matrix, rows in which no rank is killed: what every rank raises when one is wrong, late or missing."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from fault_ranks import attempt, check, check_log, replaced, try_each, write_distributions
from fault_table import FAULTS, PATIENCE, PLACES, SIZES, Fault, of
from ranks import run_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one folder for each distribution."""
    return write_distributions(tmp_path_factory.mktemp("distributions"))


@pytest.mark.parametrize(("size", "odd"), PLACES)
def test_what_one_rank_has_wrong_is_refused_on_every_rank(size: int, odd: int, folder: Path) -> None:
    faults = of("together")
    answers = run_ranks(size, try_each, [fault.kind for fault in faults], odd, folder, timeout=100)
    wrong = []
    for index, fault in enumerate(faults):
        said = {rank: answer[index] for rank, answer in enumerate(answers)}
        try:
            check(fault, size, odd, said)
            check_log(fault, odd, said)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "\n\n".join(wrong)


def alone(fault: Fault, odd: int, folder: Path) -> dict[str, Any]:
    dist.barrier()
    rank, world = dist.get_rank(), dist.group.WORLD
    assert world is not None
    answer = attempt(fault, folder, odd=rank == odd)
    world.get_group_store().set(f"answered {rank}", "")  # nobody is freed by another's end
    world.get_group_store().wait([f"answered {other}" for other in range(dist.get_world_size())], timedelta(seconds=40))
    return answer


@pytest.mark.parametrize(("size", "odd"), PLACES)
@pytest.mark.parametrize("fault", of("alone"), ids=lambda fault: fault.kind)
def test_a_rank_that_raises_where_others_wait_frees_them(fault: Fault, size: int, odd: int, folder: Path) -> None:
    check(fault, size, odd, dict(enumerate(run_ranks(size, alone, fault, odd, folder))))


def other_world(fault: Fault, odd: int, folder: Path) -> dict[str, Any]:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if fault.kind == "other world size" and rank == odd:
        os.environ["WORLD_SIZE"] = str(size + 4)
    return attempt(fault, folder, odd=rank == odd) | {"world": dist.is_initialized()}


@pytest.mark.parametrize(
    ("kind", "size", "odd"),
    [("other world size", *place) for place in PLACES]
    + [("the store hosted by the odd rank", size, 0) for size in SIZES],
)
def test_a_difference_is_told_before_a_world_is_started(kind: str, size: int, odd: int, folder: Path) -> None:
    (fault,) = [fault for fault in FAULTS if fault.kind == kind]
    answers = dict(enumerate(run_ranks(size, other_world, fault, odd, folder, world=False)))
    check(fault, size, odd, answers)
    assert not any(answer["world"] for answer in answers.values())


def late(fault: Fault, odd: int, folder: Path) -> dict[str, Any]:
    rank = dist.get_rank()
    dist.barrier()
    time.sleep(8 if rank == odd else 0)
    return attempt(fault, folder, odd=rank == odd)


@pytest.mark.parametrize(("size", "odd"), PLACES)
def test_a_rank_that_is_late_is_waited_for_and_named(size: int, odd: int, folder: Path) -> None:
    (fault,) = of("late")
    answers = dict(enumerate(run_ranks(size, late, fault, odd, folder)))
    check(fault, size, odd, answers)
    (lines,) = [answer["log"] for answer in answers.values() if answer["log"]]  # of one rank
    assert lines == [fault.log.format(odd=f"rank {odd}", n=size)]


def absent(fault: Fault, odd: int, folder: Path) -> dict[str, Any] | None:
    if int(os.environ["RANK"]) == odd:
        return None
    return attempt(replaced(fault, agree_timeout=PATIENCE), folder, odd=False)


@pytest.mark.parametrize(("size", "odd"), PLACES)
def test_a_rank_that_never_comes_is_named(size: int, odd: int, folder: Path) -> None:
    (fault,) = of("absent")
    answers = dict(enumerate(run_ranks(size, absent, fault, odd, folder)))
    assert answers.pop(odd) is None
    check(fault, size, odd, answers)


@pytest.mark.parametrize("size", SIZES)
def test_a_store_whose_host_never_comes_is_named(size: int, folder: Path) -> None:
    (fault,) = of("absent, launcher")
    answers = dict(enumerate(run_ranks(size, absent, fault, 0, folder, world=False)))
    assert answers.pop(0) is None
    check(fault, size, 0, answers)
