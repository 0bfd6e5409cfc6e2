"""Functions on real local ranks, and what is said of a rank that fails."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import needs
import pytest
import torch
import torch.distributed as dist

import pgregistry
from pgregistry import ConfigError
from pgregistry.testing import RanksFailed

Run = Callable[..., list[Any]]


def failure(run_ranks: Run, count: int, function: Callable[..., Any], *args: Any, **keywords: Any) -> str:
    with pytest.raises(RanksFailed) as raised:
        run_ranks(count, function, *args, **keywords)
    return str(raised.value)


def test_collectives_work_and_ranks_are_those_of_torchrun(run_ranks: Run) -> None:
    def summed() -> tuple[float, str, str, str]:
        value = torch.tensor([float(dist.get_rank())])
        dist.all_reduce(value)
        return value.item(), os.environ["RANK"], os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"]

    assert run_ranks(4, summed) == [(6.0, str(rank), str(rank), "4") for rank in range(4)]


def test_without_a_world_init_starts_one_as_under_torchrun(run_ranks: Run) -> None:
    def init() -> tuple[bool, Any]:
        before = dist.is_initialized()
        with pgregistry.init(tensor=2, backend="gloo") as context:
            return before, context["tensor"].ranks

    assert run_ranks(4, init, world=False) == [(False, (0, 1))] * 2 + [(False, (2, 3))] * 2


def test_ranks_have_the_environment_the_folder_and_the_path_of_the_test(
    run_ranks: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ranks(1, lambda: None)  # the server is there already
    monkeypatch.setenv("COLOUR", "blue")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "only_here.py").write_text("VALUE = 3")

    def look() -> Any:
        import only_here  # type: ignore[import-not-found]

        return os.environ["COLOUR"], os.environ["SIZE"], os.getcwd(), only_here.VALUE

    assert run_ranks(1, look, env={"SIZE": "XL"}) == [("blue", "XL", str(tmp_path), 3)]


@needs.QUIET
def test_what_ranks_print_is_printed_here(run_ranks: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run_ranks(2, lambda: print("hello") or (os.system("echo from below") and None))
    assert capsys.readouterr().out == "rank 0: hello\nrank 0: from below\nrank 1: hello\nrank 1: from below\n"


def test_a_rank_that_is_done_stays_until_all_are(run_ranks: Run) -> None:
    def host() -> str:
        rank, port = dist.get_rank(), int(os.environ["MASTER_PORT"])
        store = dist.TCPStore("127.0.0.1", port, 2, rank == 0, wait_for_workers=False)
        vars(dist)["kept"] = store
        if rank == 0:
            return "hosts the store"
        time.sleep(0.5)
        store.set("key", "there")
        return store.get("key").decode()

    assert run_ranks(2, host) == ["hosts the store", "there"]


class Loads:
    """An argument that takes one rank a while to load, or that it cannot load."""

    def __init__(self, on_rank_0: Callable[[], object]) -> None:
        self.on_rank_0 = on_rank_0

    def __setstate__(self, state: dict[str, Any]) -> None:
        if os.environ["RANK"] == "0":
            state["on_rank_0"]()


def test_ranks_make_the_call_together_however_long_one_takes_to_load_it(run_ranks: Run) -> None:
    first, second = run_ranks(2, lambda _: time.monotonic(), Loads(lambda: time.sleep(1)), world=False)
    assert abs(first - second) < 0.5


def test_no_rank_makes_the_call_if_one_cannot_load_it(run_ranks: Run) -> None:
    said = failure(run_ranks, 2, lambda _: print("called"), Loads(lambda: 1 / 0), world=False, grace=30, timeout=30)
    assert said.startswith("1 of 2 ranks failed.\nrank 0:\nTraceback (most recent call last):\n")
    assert "ZeroDivisionError" in said
    assert "printed:" not in said


@needs.QUIET
def test_an_error_is_shown_with_its_rank_what_it_printed_and_no_frame_of_ours(run_ranks: Run) -> None:
    def one_fails() -> None:
        if dist.get_rank() == 1:
            print("about to fail")
            raise ValueError("no weights")
        dist.barrier()

    said = failure(run_ranks, 2, one_fails)
    assert said.startswith("2 of 2 ranks failed.\nrank 1:\nTraceback (most recent call last):\n")
    assert f'  File "{__file__}", line ' in said
    assert "ValueError: no weights\nprinted:\nabout to fail\nrank 0:\n" in said  # whose peer is gone
    assert "pgregistry/testing" not in said


def test_a_plain_assert_of_a_test_module_shows_its_values(run_ranks: Run) -> None:
    def check() -> None:
        found = dist.get_rank()
        assert found == 0

    assert "assert 1 == 0" in failure(run_ranks, 2, check)


@needs.QUIET
def test_a_rank_that_is_killed_is_told_with_its_signal(run_ranks: Run) -> None:
    def die() -> None:
        dist.barrier()
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    assert failure(run_ranks, 3, die) == "1 of 3 ranks failed.\nrank 1:\nended with -9 (SIGKILL) and no answer"


def test_a_rank_that_leaves_is_told_with_its_status(run_ranks: Run) -> None:
    assert "rank 0:\nended with 7 and no answer" in failure(run_ranks, 1, lambda: os._exit(7))
    assert "SystemExit: 4" in failure(run_ranks, 1, lambda: sys.exit(4))


def stuck() -> None:
    """Wait for what nobody does."""
    if dist.get_rank() == 0:
        dist.barrier()
    else:
        threading.Event().wait()


def test_a_hang_is_a_failure_that_says_where_each_rank_stands(run_ranks: Run) -> None:
    said = failure(run_ranks, 2, stuck, timeout=2)
    first, second = re.split(r"^rank [01]:$", said, flags=re.MULTILINE)[1:]
    assert first.startswith("\nstill running after 2 s, here:\n")
    assert re.search(r"in barrier\n(.*\n)*.*test_local_ranks.py\", line \d+ in stuck", first)
    assert re.search(r"in wait\n(.*\n)*.*test_local_ranks.py\", line \d+ in stuck", second)
    assert "pgregistry/testing" not in said


def test_ranks_that_wait_for_one_that_failed_have_only_a_while(run_ranks: Run) -> None:
    def one_fails() -> None:
        if os.environ["RANK"] == "1":
            raise ValueError("no")
        threading.Event().wait()

    said = failure(run_ranks, 2, one_fails, grace=0.5, world=False)  # without a peer to lose
    assert "rank 0:\nstill running 0.5 s after that, here:\n" in said


def test_an_answer_that_cannot_be_sent_back_is_told(run_ranks: Run) -> None:
    assert "which cannot be sent back: cannot pickle '_thread.lock' object" in failure(run_ranks, 1, threading.Lock)


def test_ranks_that_fail_alike_are_told_together(run_ranks: Run) -> None:
    said = failure(run_ranks, 2, lambda: os._exit(7), world=False)  # without a peer to lose
    assert said == "2 of 2 ranks failed.\nranks 0-1:\nended with 7 and no answer"


def test_after_a_failure_the_next_ranks_are_fine(run_ranks: Run) -> None:
    failure(run_ranks, 2, lambda: 1 / 0)
    assert run_ranks(2, lambda: dist.get_rank()) == [0, 1]


@pytest.mark.parametrize("many", [0, -1])
def test_there_is_at_least_one_rank(many: int, run_ranks: Run) -> None:
    with pytest.raises(ConfigError, match=r"count = -?\d must be a whole number from 1\."):
        run_ranks(many, lambda: None)
