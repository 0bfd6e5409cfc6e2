"""Megatron-Core's own functions answer as if it had made the groups, and its GPT trains; and what is refused."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pgregistry_megatron import adapter

import pgregistry

needs_megatron = pytest.mark.skipif(
    not [*importlib.metadata.distributions(name="megatron-core")], reason="megatron-core is not installed"
)
SIZES: list[dict[str, int]] = [
    {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2},
    {"tensor_model_parallel_size": 2, "context_parallel_size": 2},
    {"tensor_model_parallel_size": 2, "expert_model_parallel_size": 4, "expert_tensor_parallel_size": 1},
]


def said(state: Any) -> dict[str, Any]:
    """Return what each function of `parallel_state` answers: ranks of a group, or a number."""
    import torch.distributed as dist

    answers: dict[str, Any] = {}
    for name in dir(state):
        if name.startswith("get_") and name.endswith(("_group", "_world_size", "_rank", "_ranks")):
            try:
                answer = getattr(state, name)()
            except (AssertionError, TypeError, AttributeError) as error:
                answer = type(error).__name__
            answers[name] = dist.get_process_group_ranks(answer) if isinstance(answer, dist.ProcessGroup) else answer
    for keywords in ({"with_context_parallel": True}, {"with_context_parallel": True, "partial_data_parallel": True}):
        answers[f"data {keywords}"] = dist.get_process_group_ranks(state.get_data_parallel_group(**keywords))
    return answers


def compared() -> list[tuple[dict[str, Any], dict[str, Any], int, int, int]]:
    """Return what `parallel_state` answers when it made the groups, and when it was filled; and how many were made."""
    import torch.distributed as dist
    from megatron.core import parallel_state as state

    results = []
    dist.init_process_group("gloo")
    for sizes in SIZES:
        before = dist.get_pg_count()
        state.initialize_model_parallel(**sizes, create_gloo_process_groups=False)
        theirs, made_by_them = said(state), dist.get_pg_count() - before
        adapter.empty()
        before = dist.get_pg_count()
        given: dict[str, Any] = {f"megatron_{name}": size for name, size in sizes.items()}
        with pgregistry.init(only=["megatron"], **given) as context:
            made, before = dist.get_pg_count() - before, dist.get_pg_count()
            adapter.fill(context)
            results.append((said(state), theirs, made, made_by_them, dist.get_pg_count() - before))
            adapter.empty()
            assert not state.is_initialized()
    dist.destroy_process_group()
    return results


@needs_megatron
def test_parallel_state_answers_as_if_it_had_made_the_groups(run_ranks: Callable[..., list[Any]]) -> None:
    for results in run_ranks(4, compared, world=False, timeout=250):
        for ours, theirs, made, made_by_them, made_by_fill in results:
            assert ours == theirs
            assert made_by_fill == 0
            assert made < made_by_them


def on_cpu() -> None:
    """Let Megatron-Core run without CUDA, for which its buffers and random states are written."""
    from contextlib import nullcontext

    import torch
    from megatron.core.tensor_parallel import random

    random.CudaRNGStatesTracker.fork = lambda self, name="": nullcontext()
    cuda: Any = torch.cuda
    cuda.current_device = lambda: torch.device("cpu")


LENGTH, BATCH, BYTES, STEPS = 8, 8, 64, 5


def batch(step: int) -> tuple[Any, Any]:
    import torch

    tokens = torch.randint(0, BYTES, (BATCH, LENGTH), generator=torch.Generator().manual_seed(step))
    return tokens, (tokens * 3 + 1) % BYTES


def train(groups: Any, data: Any) -> list[float]:
    """Train Megatron-Core's GPT over a collection of process groups."""
    import torch
    import torch.distributed as dist
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer.transformer_config import TransformerConfig

    off = ("masked_softmax_fusion", "bias_dropout_fusion", "gradient_accumulation_fusion")
    config = TransformerConfig(
        num_layers=2,
        hidden_size=32,
        num_attention_heads=4,
        use_cpu_initialization=True,
        tensor_model_parallel_size=groups.tp.size(),
        hidden_dropout=0.0,
        attention_dropout=0.0,
        **dict.fromkeys(off, False),
    )
    torch.manual_seed(11)
    model = GPTModel(
        config,
        get_gpt_layer_local_spec(),
        vocab_size=BYTES,
        max_sequence_length=LENGTH,
        position_embedding_type="learned_absolute",
        pg_collection=groups,
    )
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=False), []
    mask = torch.triu(torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool), 1)
    for step in range(STEPS):
        tokens, following = (each.chunk(data.size)[data.rank] for each in batch(step))
        loss = model(tokens, torch.arange(LENGTH).expand_as(tokens), mask, labels=following).mean()
        optimizer.zero_grad()
        loss.backward()
        for weight in model.parameters():
            dist.all_reduce(weight.grad, group=data.group)
            weight.grad /= data.size
        optimizer.step()
        value = loss.detach().clone()
        dist.all_reduce(value, group=data.group)
        losses.append(value.item() / data.size)
    return losses


def trained() -> tuple[list[float], list[float]]:
    """Return the losses of a GPT at tensor 2 × data 2, and those of one process."""
    on_cpu()
    with pgregistry.init(only=["megatron"], backend="gloo", megatron_tensor_model_parallel_size=2) as context:
        adapter.fill(context)  # its cross entropy asks parallel_state
        losses = train(adapter.collection(context), context["megatron_DATA_PARALLEL_GROUP"])
        rank = context.rank
    with pgregistry.init(only=["megatron"], backend="gloo", within=[rank]) as context:  # each rank alone
        adapter.fill(context)
        expected = train(adapter.collection(context), context["megatron_DATA_PARALLEL_GROUP"])
    return losses, expected


@needs_megatron
def test_a_gpt_trains_as_one_process(run_ranks: Callable[..., list[Any]]) -> None:
    for losses, expected in run_ranks(4, trained, world=False, timeout=250):
        assert losses == pytest.approx(expected, abs=1e-4)


def refusal(function: Callable[[Any], object], context: Any = None) -> str:
    """Return the text of an error."""
    with pytest.raises(pgregistry.ConfigError) as caught:
        function(context)
    return str(caught.value)


@pytest.mark.parametrize("function", [adapter.collection, adapter.fill])
def test_a_missing_package_is_refused(function: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("megatron", "megatron.core"):
        monkeypatch.setitem(sys.modules, name, None)
    first, remedy = refusal(function).splitlines()
    assert first.startswith("pgregistry_megatron.adapter needs megatron-core 0.16.1, which cannot be imported: ")
    assert remedy == "  Install it: pip install megatron-core==0.16.1"


def install(monkeypatch: pytest.MonkeyPatch, names: Any = ()) -> None:
    """Install a Megatron-Core of another version."""
    module = types.ModuleType("megatron.core.parallel_state")
    vars(module).update(dict.fromkeys(names))
    for name in ("megatron", "megatron.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "megatron.core.parallel_state", module)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.99")


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert refusal(adapter.fill) == (
        "megatron-core 0.99 has no megatron.core.parallel_state._TENSOR_MODEL_PARALLEL_GLOBAL_RANKS; "
        "pgregistry_megatron.adapter was tried with 0.16.1.\n"
        "  Install that version: pip install megatron-core==0.16.1"
    )


def test_another_version_in_a_clone_is_refused_without_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    assert refusal(adapter.fill).startswith("This megatron-core has no megatron.core.parallel_state._TENSOR_MODEL")


def not_installed(name: str) -> str:
    """Answer as for a clone on PYTHONPATH."""
    raise importlib.metadata.PackageNotFoundError(name)


def lacks_a_mode() -> str:
    """Return the text of an error."""
    with pytest.MonkeyPatch.context() as monkeypatch, pgregistry.init(backend="gloo") as context:
        gloo = [f"_{name}_GLOO" for name in adapter.GLOO]
        install(monkeypatch, [*adapter.RANKS, *adapter.SAME, *adapter.OTHERS, *gloo])
        return refusal(adapter.fill, context)


def test_a_plan_without_the_modes_is_refused(run_ranks: Callable[..., list[Any]]) -> None:
    assert run_ranks(1, lacks_a_mode, world=False) == [
        (
            "megatron-core 0.16.1 needs the mode 'TENSOR_MODEL_PARALLEL_GROUP', and the plan has none.\n"
            "  Enable the plugin, init(enable=['megatron']), or build pgregistry_megatron.plan(…) with init(plan=…)."
        )
    ]


def test_the_readme_lists_all_that_is_touched() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert [
        name for name in (*adapter.FIELDS, *adapter.RANKS, *adapter.SAME, *adapter.OTHERS) if f"`{name}`" not in readme
    ] == []
