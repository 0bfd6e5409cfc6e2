"""The device of the tensors that a network test sends, on machines with and without an accelerator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from pgregistry_nettest.timing import device_of


@pytest.mark.parametrize(
    ("accelerator", "backend", "config", "device"),
    [
        (None, "gloo", "cpu:gloo,cuda:gloo", "cpu"),
        ("cuda", "gloo", "cpu:gloo,cuda:gloo", "cpu"),
        ("cuda", "cpu:gloo", "cpu:gloo", "cpu"),
        ("cuda", "mpi", "cpu:mpi,cuda:mpi", "cpu"),
        ("cuda", "nccl", "cuda:nccl", "cuda:1"),
        ("cuda", "cpu:gloo,cuda:nccl", "cpu:gloo,cuda:nccl", "cuda:1"),
        ("xpu", "xccl", "xpu:xccl", "xpu:1"),
    ],
)
def test_tensors_are_on_the_accelerator_if_the_backend_takes_them_there(
    accelerator: str | None, backend: str, config: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(accelerator or "cpu"))
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 1)
    monkeypatch.setattr(dist, "get_backend", lambda group: backend)
    monkeypatch.setattr(dist, "get_backend_config", lambda group: config)
    group: Any = object()
    assert str(device_of(group)) == device
