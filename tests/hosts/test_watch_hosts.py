"""The watch over several hosts: a host that is gone is named by its name, and so is that of a rank that stands."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from bed import PORT, Bed
from hosts_or_skip import hosts_or_skip
from ranks import run_ranks
from ranks_on_hosts import Site, site

import pgregistry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STUCK: Final = str(Path(__file__).parent / "jobs" / "stuck.py")
#: Seconds of the watch, and in which each rank has said who holds it up.
WATCH: Final = 2.0
SAID: Final = 25.0
#: Seconds after which gloo gives up, for which `close()` waits too if a collective is under way.
TIMEOUT: Final = 30


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    yield from hosts_or_skip(3)


@pytest.fixture
def healthy(bed: Bed) -> Iterator[Bed]:
    """Return the bed, and plug in its cables after the test."""
    yield bed
    for host in range(3):
        bed.up(host)


class Heard(logging.Handler):
    """What the watch of this rank says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        logging.getLogger("pgregistry.watch").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def wait(self, count: int = 1) -> list[str]:
        until = time.monotonic() + SAID
        while len(self.texts) < count and time.monotonic() < until:
            time.sleep(0.05)
        return self.texts


def waits_for_all(where: Site) -> list[str]:
    """Return what is said when all ranks are in a collective, and a host is cut off before."""
    import torch
    import torch.distributed as dist

    where.enter({"TORCH_CPP_LOG_LEVEL": "ERROR"})
    heard = Heard()
    context = pgregistry.init(only=["global"], watch=WATCH, timeout=TIMEOUT)
    dist.all_reduce(torch.ones(1))
    where.pause("cut")
    work = dist.all_reduce(torch.ones(1), async_op=True)
    texts = [*heard.wait()]
    context.close(abort=True)
    del work
    return texts


def waits_in_two_contexts(where: Site) -> list[str]:
    """Return what is said when rank 2 comes neither to a collective of all nor to one of ranks 2 and 1."""
    import torch
    import torch.distributed as dist

    rank = where.enter({"TORCH_CPP_LOG_LEVEL": "ERROR"})
    heard = Heard()
    with pgregistry.init(only=["global"], watch=WATCH, timeout=TIMEOUT) as everybody:
        inner = [] if rank == 0 else [pgregistry.init(only=["global"], within=[2, 1], watch=WATCH, timeout=TIMEOUT)]
        groups = [one["global"].group for one in (*inner, everybody)]
        if rank < 2:
            work = dist.all_reduce(torch.ones(1), group=groups[0], async_op=True)
        texts = [*heard.wait(1 if rank == 0 else 2)]
        if rank == 2:
            for group in groups:
                dist.all_reduce(torch.ones(1), group=group)
        if rank == 1:
            work.wait()
            dist.all_reduce(torch.ones(1), group=groups[1])
        if rank == 0:
            work.wait()
        for one in inner:
            one.close()
    return texts


def test_a_host_that_is_cut_off_is_named(healthy: Bed, tmp_path: Path) -> None:
    where = site(healthy, 1, tmp_path)
    acting = where.at("cut", lambda: healthy.down(2))
    first, second, gone = run_ranks(3, waits_for_all, where, world=False, timeout=90)
    acting.join()
    assert first == second
    assert len(first) == 1
    assert "Rank 2 holds up the run (absent): it does not answer, and 2 ranks wait for it." in first[0]
    assert "\n  host    host2\n" in first[0]
    assert first[0].count("holds up the run") == 1
    assert gone[0].startswith(f"The store does not answer, which rank 0 hosts at {healthy.address(0)}:{PORT}: that ")
    assert "\nRank 2 (host host2, process " in gone[0]


def test_where_the_host_of_the_store_is_cut_off_each_rank_reports_alone(healthy: Bed, tmp_path: Path) -> None:
    where = site(healthy, 1, tmp_path)
    acting = where.at("cut", lambda: healthy.down(0))
    texts = run_ranks(3, waits_for_all, where, world=False, timeout=90)
    acting.join()
    for rank, said in enumerate(texts[1:], 1):
        assert len(said) == 1
        assert said[0].startswith(f"The store does not answer, which rank 0 hosts at {healthy.address(0)}:{PORT}: that")
        assert f"\nRank {rank} (host host{rank}, process " in said[0]
        assert " s in all_reduce #2 of global (ranks 0-2)." in said[0]


def test_each_of_two_contexts_names_the_rank_that_both_wait_for(healthy: Bed, tmp_path: Path) -> None:
    """Ranks 1 and 2 have a context of their own. That of all knows that rank 1 waits there, and does not accuse it."""
    where = site(healthy, 1, tmp_path)
    found = run_ranks(3, waits_in_two_contexts, where, world=False, timeout=90)
    for texts in found:
        for text in texts:
            assert re.findall(r"^Rank (\d) holds up the run \((\w+)\)", text, re.MULTILINE) == [("2", "process")], found
            assert "\n  host    host2, process " in text
    assert [len(texts) for texts in found] == [1, 2, 2]


def test_the_log_of_each_rank_under_torchrun_names_rank_and_host(healthy: Bed, tmp_path: Path) -> None:
    job = healthy.launch(STUCK, "tensor=2", "--watch", "3", nproc=2, on=[0, 1], cwd=tmp_path)
    job.until(lambda: said(healthy) >= 4, 60)
    for result in job.wait(0):
        assert result.stderr.count("Rank 3 holds up the run (process): it waits for nobody, and ") == 2, result.stderr
        assert "\n  host    host1, process " in result.stderr
        assert re.search(r"\n  now     <module>, .*stuck\.py:\d+\n", result.stderr), result.stderr


def said(bed: Bed) -> int:
    """Return how many ranks of the latest job have said who holds it up."""
    folder = max(bed.folder.glob("job*"), key=lambda path: int(path.name[3:]))
    return sum(path.read_text(encoding="utf-8").count("holds up the run (") for path in folder.glob("*.err"))
