"""The device of the default process group: seen, and set aside while process groups are made by their members alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pgregistry.torch_private import binding
from pgregistry.torch_private.binding import bound_device, can_split, unbound


def test_no_world_is_bound_to_nothing_and_splits_nothing() -> None:
    with unbound():
        assert (bound_device(), can_split()) == (None, False)


@pytest.mark.parametrize("splits", [True, False])
def test_a_backend_says_whether_it_splits(splits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 1)
    backends = {device: SimpleNamespace(supports_splitting=splits)}
    world: Any = SimpleNamespace(bound_device_id=device, _get_backend=backends.__getitem__)
    monkeypatch.setattr(binding, "dist", SimpleNamespace(group=SimpleNamespace(WORLD=world)))
    assert can_split() is splits
    with unbound():
        assert (world.bound_device_id, can_split()) == (None, False)
    assert world.bound_device_id == device
    with pytest.raises(ZeroDivisionError), unbound():
        _ = 1 / 0
    assert world.bound_device_id == device


def test_a_torch_that_keeps_backends_elsewhere_splits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world: Any = SimpleNamespace(bound_device_id=torch.device("cuda", 0))
    monkeypatch.setattr(binding, "dist", SimpleNamespace(group=SimpleNamespace(WORLD=world)))
    assert not can_split()
