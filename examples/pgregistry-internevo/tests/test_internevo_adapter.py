"""The adapter answers as InternLM's gpc does, fills the real one of InternEvo, and trains; and what is refused."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pgregistry_internevo import adapter

import pgregistry

VERSION = "0.5.2"
INSTALLED = bool([*importlib.metadata.distributions(name="InternEvo")])
needs_internevo = pytest.mark.skipif(not INSTALLED, reason="InternEvo is not installed")


def real() -> Any:
    """Import the package of InternEvo's context; the modules above it import what its wheel lacks."""
    spec: Any = importlib.util.find_spec("internlm")
    (folder,) = spec.submodule_search_locations
    for name in ("internlm", "internlm.core", "internlm.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(Path(folder, *name.split(".")[1:]))]
        sys.modules[name] = module
    return importlib.import_module("internlm.core.context.parallel_context"), importlib.import_module(
        "internlm.core.context.process_group_initializer"
    )


def answers(gpc: Any, modes: Any) -> dict[str, Any]:
    """Return what gpc says of the modes."""
    said = {}
    for mode in (modes.DATA, modes.TENSOR, modes.PIPELINE, modes.ZERO1):
        said[mode.value] = (
            gpc.get_local_rank(mode),
            gpc.get_world_size(mode),
            gpc.get_ranks_in_group(mode),
            gpc.get_next_global_rank(mode),
            gpc.get_prev_global_rank(mode),
            gpc.is_first_rank(mode),
            gpc.is_last_rank(mode),
        )
    return {**said, "stages": (gpc.is_pipeline_first_stage(), gpc.is_pipeline_last_stage(), gpc.is_rank_for_log())}


def both() -> tuple[dict[str, Any], dict[str, Any], int]:
    """Return what the adapter answers, and what the real gpc does when it is filled."""
    parallel_context, initializer = real()
    with pgregistry.init(pipe=2, tensor=2, zero1=2, backend="gloo") as context:
        gpc, modes = parallel_context.global_context, initializer.ParallelMode
        adapter.register(context, gpc, modes)
        return answers(adapter.Gpc(context), adapter.ParallelMode), answers(gpc, modes), gpc.zero1_parallel_size


@needs_internevo
def test_the_adapter_and_the_real_gpc_that_it_fills_answer_alike(run_ranks: Callable[..., list[Any]]) -> None:
    for rank, (ours, theirs, zero1) in enumerate(run_ranks(8, both, world=False, timeout=250)):
        assert ours == theirs
        assert zero1 == 2
        assert ours["tensor"][2] == [rank // 2 * 2, rank // 2 * 2 + 1]


def trained(real_gpc: bool) -> tuple[list[float], list[float]]:
    """Train stages of a pipeline, with gradients over DATA, through gpc; and the same in one process."""
    import torch
    import torch.distributed as dist

    def layers() -> list[torch.nn.Linear]:
        torch.manual_seed(0)
        return [torch.nn.Linear(8, 8) for _ in range(4)]

    def batch(step: int) -> torch.Tensor:
        return torch.randn(8, 8, generator=torch.Generator().manual_seed(step))

    alone, expected = layers(), []
    optimizer = torch.optim.SGD([weight for layer in alone for weight in layer.parameters()], lr=0.1)
    for step in range(5):
        loss = (torch.nn.Sequential(*alone)(batch(step)) - batch(step)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    with pgregistry.init(pipe=2, backend="gloo") as context:
        gpc, modes = adapter.Gpc(context), adapter.ParallelMode
        if real_gpc:
            parallel_context, initializer = real()
            gpc, modes = parallel_context.global_context, initializer.ParallelMode
            adapter.register(context, gpc, modes)
        pipe, data = gpc.get_group(modes.PIPELINE), gpc.get_group(modes.DATA)
        size, position = gpc.get_world_size(modes.DATA), gpc.get_local_rank(modes.DATA)
        mine = layers()[2:] if gpc.is_pipeline_last_stage() else layers()[:2]
        weights: list[Any] = [weight for layer in mine for weight in layer.parameters()]
        optimizer, losses = torch.optim.SGD(weights, lr=0.1), []
        for step in range(5):
            given = batch(step).chunk(size)[position].clone()
            there: Any = torch.empty_like(given)
            slope, loss = torch.empty_like(given), torch.zeros(())
            optimizer.zero_grad()
            if gpc.is_first_rank(modes.PIPELINE):
                out = torch.nn.Sequential(*mine)(given)
                dist.send(out.detach(), gpc.get_next_global_rank(modes.PIPELINE), group=pipe)
                dist.recv(slope, gpc.get_next_global_rank(modes.PIPELINE), group=pipe)
                out.backward(slope)
            else:
                dist.recv(there, gpc.get_prev_global_rank(modes.PIPELINE), group=pipe)
                loss = (torch.nn.Sequential(*mine)(there.requires_grad_()) - given).square().mean()
                loss.backward()
                dist.send(there.grad, gpc.get_prev_global_rank(modes.PIPELINE), group=pipe)
            for weight in weights:
                dist.all_reduce(weight.grad, group=data)
                weight.grad /= size
            optimizer.step()
            loss = loss.detach().clone()
            for group in (data, pipe):
                dist.all_reduce(loss, group=group)
            losses.append(loss.item() / size)
    return losses, expected


@pytest.mark.parametrize("real_gpc", [False, pytest.param(True, marks=needs_internevo)])
def test_code_written_for_gpc_trains_as_one_process(real_gpc: bool, run_ranks: Callable[..., list[Any]]) -> None:
    for losses, expected in run_ranks(4, trained, real_gpc, world=False, timeout=250):
        assert losses == pytest.approx(expected, abs=1e-4)


def six() -> list[Any]:
    """Return six-tuples without their process groups, and whether these are there."""
    with pgregistry.init(only=["bundled"], tensor=2, backend="gloo") as context:
        gpc = adapter.Gpc(context)
        tuples = [
            gpc.init_dist_group(mode, use_cpu=True)
            for mode in (adapter.ParallelMode.TENSOR, adapter.ParallelMode.EXPERT)
        ]
        return [(one[0], one[1], one[2] is not None, one[3] is not None, one[4], one[5].name) for one in tuples]


def test_the_six_tuple_has_none_for_a_mode_that_the_plan_lacks(run_ranks: Callable[..., list[Any]]) -> None:
    none = (None, None, False, False, None, "EXPERT")
    assert run_ranks(2, six, world=False) == [
        [(0, 2, True, True, [0, 1], "TENSOR"), none],
        [(1, 2, True, True, [0, 1], "TENSOR"), none],
    ]


def refused(what: str) -> str:
    """Return the text of an error."""
    with pgregistry.init(disable=["zero1"] if what == "mode" else [], backend="gloo") as context:
        with pytest.raises(pgregistry.ConfigError) as caught:
            adapter.register(context, types.SimpleNamespace(**dict.fromkeys(adapter.TOUCHED[what == "name" :])), [])
        return str(caught.value)


def test_a_plan_without_a_mode_and_a_gpc_of_another_version_are_refused(run_ranks: Callable[..., list[Any]]) -> None:
    (mode,), (name,) = (run_ranks(1, refused, what, world=False) for what in ("mode", "name"))
    assert mode == (
        "InternEvo 0.5.2 needs the mode 'zero1', and the plan has none on this rank.\n"
        "  Enable the bundled modes data, pipe, tensor and zero1, or the plugin: init(enable=['internevo'])."
    )
    here = f"InternEvo {importlib.metadata.version('InternEvo')}" if INSTALLED else "This InternEvo"
    assert name == (
        f"{here} has no gpc._register_dist; pgregistry_internevo.adapter was tried with InternEvo 0.5.2.\n"
        "  Install that version, or use pgregistry_internevo.adapter.Gpc in the place of gpc."
    )


def test_the_readme_lists_all_that_is_touched() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in adapter.TOUCHED if f"`{name}" not in readme] == []
