"""Functions that can be sent to ranks, and those that cannot."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from pgregistry import ConfigError
from pgregistry.testing import LocalRanks

Run = Callable[..., list[Any]]


FACTOR = 10


def ten_times(number: int) -> int:
    return number * FACTOR


def answer(number: int, *, more: int = 1) -> int:
    return ten_times(number) + dist.get_rank() + more


def test_a_function_of_the_test_module_may_use_what_is_around_it(run_ranks: Run) -> None:
    assert run_ranks(2, answer, 7) == [71, 72]


def test_a_lambda_and_a_function_in_a_function_may_use_what_is_around_them(run_ranks: Run) -> None:
    values = [5, 6]
    assert run_ranks(2, lambda: values[dist.get_rank()]) == values

    def countdown(number: int) -> list[int]:
        return [number, *countdown(number - 1)] if number else [answer(0)]

    assert run_ranks(2, countdown, 2) == [[2, 1, 1], [2, 1, 2]]


COUNTER = 0


def count() -> None:
    global COUNTER
    COUNTER += 1


def test_functions_of_one_module_share_its_globals_on_a_rank_and_change_nothing_here(run_ranks: Run) -> None:
    def twice() -> int:
        count()
        count()
        return COUNTER

    assert run_ranks(2, twice) == [2, 2]
    assert COUNTER == 0


def test_what_cannot_be_sent_is_refused_before_anything_is_started(run_ranks: Run) -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"cannot be sent .* cannot pickle") as it:
        run_ranks(2, lambda: lock)
    assert "Make other things inside the function." in str(it.value)


SENDS = """
import functools
from pgregistry.testing import LocalRanks

class Local:
    pass

def double(number):
    return 2 * number

with LocalRanks() as ranks:
    print(ranks.run(1, functools.partial(double, 3), world=False))
    (local,) = ranks.run(1, lambda: Local(), world=False)
    print(isinstance(local, Local))
"""


def test_a_script_sends_its_functions_and_its_classes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SENDS)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[6]\nTrue\n", done.stderr


def test_without_cloudpickle_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ConfigError) as caught, LocalRanks() as ranks:
        ranks.run(2, print)
    assert str(caught.value) == (
        "Starting local ranks needs cloudpickle, which is not installed. Install it: pip install 'pgregistry[test]'."
    )
