"""torch's count of process groups: it restarts and rises, and a torch without it is left alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from pgregistry.torch_private import counter


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c10d._world, "group_count", 3)


def test_the_count_restarts() -> None:
    counter.restart()
    assert dist.get_pg_count() == 0


@pytest.mark.parametrize(("count", "after"), [(7, 7), (2, 3)])
def test_the_count_rises_and_never_falls(count: int, after: int) -> None:
    counter.raise_to(count)
    assert dist.get_pg_count() == after


def test_a_torch_that_counts_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace()
    monkeypatch.setattr(c10d, "_world", other)
    counter.restart()
    assert vars(other) == {}
