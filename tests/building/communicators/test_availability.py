"""A torch or a backend that cannot work here is refused before anything is made, on every rank."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import alive, run_ranks

import pgregistry
from pgregistry import ConfigError
from pgregistry.building.communicators import availability
from pgregistry.building.communicators.availability import check_available, check_devices, check_known

SAID = "backend = 'nccl' (keyword)"


def refused(check: Any, *given: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        check(*given)
    return str(raised.value)


def test_gloo_is_there() -> None:
    for backend in ("gloo", "cpu:gloo"):
        check_available(backend, "it")


def test_a_backend_that_torch_does_not_know_is_refused_with_the_nearest_name() -> None:
    text = refused(check_known, "cpu:gloo,cuda:ncl", "backend = 'cpu:gloo,cuda:ncl' (keyword)")
    assert text.startswith("backend = 'cpu:gloo,cuda:ncl' (keyword) must be a backend that torch knows. Did you mean ")
    assert text.endswith("Import the module of another one before init().")


def test_what_torch_knows_by_itself_is_looked_up_in_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "entry_points", lambda group: 1 / 0)
    check_known("cpu:gloo,cuda:nccl", "backend")


def test_a_backend_that_torch_finds_by_its_entry_point_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("lab-net", "lab:register", "torch.distributed.backends")
    monkeypatch.setattr(availability, "entry_points", lambda group: [point] if group == point.group else [])
    check_available("lab-net", "it")


def test_nccl_is_refused_where_torch_was_built_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert refused(check_available, "cpu:gloo,cuda:nccl", SAID) == (
        f"{SAID} must be a backend with which torch was built. This is a build of torch for CPUs. Leave it out to use "
        "what torch has here, or name gloo."
    )


def test_nccl_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused(check_available, "nccl", SAID) == (
        f"{SAID} must have a GPU, but torch finds none on this host. Leave it out to use what torch has here, or name "
        "gloo."
    )


def machine(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for name in availability.SHOWN_DEVICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(availability, "accelerator", lambda: "cuda")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


def test_more_local_ranks_than_accelerators_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 4)
    check_devices("nccl", None, 3)
    assert refused(check_devices, "nccl", None, 4) == (
        "Local rank 4 must have an accelerator of its own for backend 'nccl', but torch finds 4 devices (cuda) on this "
        "host. Start at most 4 ranks a host, or use backend='gloo'."
    )
    check_devices("gloo", None, 4)
    check_devices("nccl", torch.device("cuda", 0), 4)  # the user says which
    check_devices("nccl", None, None)


def test_a_launcher_may_show_each_process_one_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 1)
    assert "finds 1 device (cuda) on this host. Start at most 1 rank a host" in refused(check_devices, "nccl", None, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    check_devices("nccl", None, 1)


def refusals(kind: str) -> Any:
    before = alive()
    with pytest.MonkeyPatch.context() as patch:
        keywords: dict[str, Any] = {}
        if kind == "old torch":
            patch.setattr(torch, "__version__", "2.8.0+cpu")
        elif kind == "a mode":
            keywords = {"tensor": {"size": 2, "backend": "ncl"}}
        else:
            patch.setattr(dist, "is_nccl_available", lambda: True)
            patch.setattr(torch.cuda, "is_available", lambda: False)
            keywords = {"tensor": {"size": 2, "backend": "nccl"}, "backend": "nccl"}
        with pytest.raises(ConfigError) as raised:
            pgregistry.init(**keywords)
    return str(raised.value), alive() == before


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "old torch",
            "torch 2.8.0+cpu is installed, but init() must have torch 2.9 or later. Install it on all hosts",
        ),
        (
            "a mode",
            "Mode 'tensor' has backend 'ncl' (keyword), which must be a backend that torch knows. Did you mean ",
        ),
        ("no GPU", "backend = 'nccl' (keyword) must have a GPU, but torch finds none on this host."),
    ],
)
def test_every_rank_is_told_at_once_and_nothing_is_made(kind: str, text: str) -> None:
    for said, clean in run_ranks(2, refusals, kind):
        assert said.startswith(text)
        assert clean
