"""The probe of private calls: it finds each call that is missing, and fits this torch."""

import ast
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributed import distributed_c10d as c10d

from pgregistry.torch_private import group_creation
from pgregistry.torch_private.group_creation import bound_device, can_split, unbound

SOURCE = Path(inspect.getsourcefile(group_creation) or "")
#: Every name of torch's module that the source uses, so that a new one cannot be forgotten.
USED = sorted(
    {
        node.attr
        for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "c10d"
    }
)


def test_this_torch_has_all_private_calls() -> None:
    assert group_creation.available()
    assert {"_new_process_group_helper", "_get_default_timeout", "_world"} <= set(USED)


@pytest.mark.parametrize("name", USED)
def test_a_torch_that_lacks_a_private_call_is_not_used_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(c10d, name)
    assert not group_creation.available()


def renamed(
    group_size: Any, group_rank: Any, ranks: Any, backend: Any, store: Any, group_name: Any, **options: Any
) -> None:
    """Take other parameters than today's torch does."""


def shortened(
    group_size: Any, group_rank: Any, global_ranks_in_group: Any, backend: Any, store: Any, group_name: Any
) -> None:
    """Take no options by name."""


@pytest.mark.parametrize("helper", [renamed, shortened])
def test_a_torch_whose_helper_takes_other_parameters_is_not_used_by_name(
    helper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c10d, "_new_process_group_helper", helper)
    assert not group_creation.available()


def test_a_torch_that_keeps_ranks_elsewhere_is_not_used_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c10d, "_world", object())
    assert not group_creation.available()


def test_no_world_is_bound_to_nothing_and_splits_nothing() -> None:
    with unbound():
        assert (bound_device(), can_split()) == (None, False)


@pytest.mark.parametrize("splits", [True, False])
def test_a_backend_says_whether_it_splits(splits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 1)
    backends = {device: SimpleNamespace(supports_splitting=splits)}
    world: Any = SimpleNamespace(bound_device_id=device, _get_backend=backends.__getitem__)
    monkeypatch.setattr(group_creation, "dist", SimpleNamespace(group=SimpleNamespace(WORLD=world)))
    assert can_split() is splits
    with unbound():
        assert (world.bound_device_id, can_split()) == (None, False)
    assert world.bound_device_id == device
    with pytest.raises(ZeroDivisionError), unbound():
        _ = 1 / 0
    assert world.bound_device_id == device


def test_a_torch_that_keeps_backends_elsewhere_splits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world: Any = SimpleNamespace(bound_device_id=torch.device("cuda", 0))
    monkeypatch.setattr(group_creation, "dist", SimpleNamespace(group=SimpleNamespace(WORLD=world)))
    assert not can_split()
