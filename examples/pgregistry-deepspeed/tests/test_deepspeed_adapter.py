"""DeepSpeed trains on the process groups of a context and makes none; and what the adapter refuses."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pgregistry_deepspeed import adapter

import pgregistry

needs_deepspeed = pytest.mark.skipif(
    not [*importlib.metadata.distributions(name="deepspeed")], reason="deepspeed is not installed"
)
STEPS, BATCH, WIDTH = 5, 8, 8


def batch(step: int) -> Any:
    import torch

    return torch.randn(BATCH, WIDTH, generator=torch.Generator().manual_seed(step))


def quiet() -> Any:
    """Import DeepSpeed for CPUs."""
    import logging
    import os

    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    its_torch: Any = sys.modules["deepspeed.comm.torch"]
    its_torch.build_shm_op = lambda: None  # it compiles C++, for minutes
    deepspeed.utils.logging.logger.setLevel(logging.ERROR)
    return deepspeed


def train(context: Any, model: Any, parameters: Any, stage: int) -> tuple[list[float], int]:
    """Return the losses of an engine, and how many process groups it made."""
    import torch
    import torch.distributed as dist

    deepspeed, data = quiet(), context["data"]
    before = dist.get_pg_count()
    config = {
        "train_batch_size": BATCH,
        "train_micro_batch_size_per_gpu": BATCH // data.size,
        "gradient_clipping": 0.3 if stage else 0.0,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW(parameters, lr=0.01, foreach=False),
        mpu=adapter.Mpu(context),
        config=config,
        dist_init_required=False,
    )
    losses = []
    for step in range(STEPS):
        loss = engine(batch(step).chunk(data.size)[data.rank])
        engine.backward(loss)
        engine.step()
        value = loss.detach().clone()
        dist.all_reduce(value, group=data.group)
        losses.append(value.item() / data.size)
    return losses, dist.get_pg_count() - before


def alone(model: Any, clip: float | None) -> list[float]:
    """Return the losses of plain torch in one process."""
    import torch

    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=False), []
    for step in range(STEPS):
        loss = model(batch(step))
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def zero() -> list[tuple[list[float], list[float], int, bool]]:
    """Train with ZeRO 0 to 3 over data=2, with the same weights along tensor=2."""
    import torch

    quiet()
    from deepspeed.utils import groups

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.up, self.down = torch.nn.Linear(WIDTH, 32), torch.nn.Linear(32, WIDTH)

        def forward(self, x: Any) -> Any:
            return (self.down(torch.relu(self.up(x))) - x.flip(1)).square().mean()

    results = []
    with pgregistry.init(only=["bundled"], tensor=2, backend="gloo") as context:
        for stage in range(4):
            model = Model()
            losses, made = train(context, model, model.parameters(), stage)
            ours = groups._get_data_parallel_group() is context["data"].group
            results.append((losses, alone(Model(), 0.3 if stage else None), made, ours))
    return results


@needs_deepspeed
def test_zero_0_to_3_train_as_one_process_on_the_groups_of_a_context(run_ranks: Callable[..., list[Any]]) -> None:
    for results in run_ranks(4, zero, world=False, timeout=250):
        for losses, expected, made, ours in results:
            assert losses == pytest.approx(expected, abs=1e-4)
            assert (made, ours) == (0, True)


def experts() -> tuple[list[float], list[float], bool]:
    """Train a layer of experts, of which ranks along `expert` have different ones."""
    import torch

    quiet()
    from deepspeed.moe.layer import MoE
    from deepspeed.moe.utils import split_params_into_different_moe_groups_for_optimizer as split

    class Model(torch.nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            torch.manual_seed(0)
            expert = torch.nn.Linear(WIDTH, WIDTH)
            torch.manual_seed(1)
            capacity = {"capacity_factor": 4.0, "eval_capacity_factor": 4.0, "min_capacity": 0, "use_rts": False}
            self.moe = MoE(WIDTH, expert, num_experts=4, ep_size=size, k=1, **capacity)

        def forward(self, x: Any) -> Any:
            return (x + self.moe(x)[0] - x.flip(1)).square().mean()

    copies = pgregistry.Split("data", inner="expert")
    modes = [pgregistry.Mode("expert", over=copies), pgregistry.Mode("expert_data", over=copies.outer)]
    with pgregistry.init(only=["bundled"], expert=2, extra=modes, backend="gloo") as context:
        adapter.give_experts(context)
        adapter.give_experts(context, expert="dummy", expert_data="data")  # for the model of one process
        model, one = Model(2), Model(1)
        parameters = split({"params": list(model.parameters()), "name": "all"})
        losses, _ = train(context, model, parameters, 0)
        return losses, alone(one, None), model.moe.deepspeed_moe.ep_group is context["expert"].group


@needs_deepspeed
def test_layers_of_experts_use_the_groups_of_a_context(run_ranks: Callable[..., list[Any]]) -> None:
    for losses, expected, ours in run_ranks(4, experts, world=False, timeout=250):
        assert losses == pytest.approx(expected, abs=1e-4)
        assert ours


def lacks_a_mode() -> str:
    """Return the text of an error."""
    with (
        pgregistry.init(disable=["pipe", "model", "tensor"], backend="gloo") as context,
        pytest.raises(pgregistry.ConfigError) as caught,
    ):
        adapter.Mpu(context)
    return str(caught.value)


def test_a_plan_without_a_mode_is_refused(run_ranks: Callable[..., list[Any]]) -> None:
    assert run_ranks(1, lacks_a_mode, world=False) == [
        (
            "DeepSpeed 0.19.8 needs the mode 'model', and the plan has none on this rank.\n"
            "  Enable its plugin: the bundled ones, or init(enable=['deepspeed']) for those of this distribution."
        )
    ]


def lacks_experts() -> str:
    groups = types.ModuleType("deepspeed.utils.groups")
    vars(groups).update({name: {} for name in adapter.GROUPS})
    sys.modules |= {"deepspeed.utils.groups": groups, "deepspeed": groups, "deepspeed.utils": groups}
    with pgregistry.init(only=["deepspeed"], backend="gloo") as context:
        adapter.give_experts(context, expert="deepspeed_expert", expert_data="deepspeed_expert_data")
        with pytest.raises(pgregistry.ConfigError) as caught:
            adapter.give_experts(context)
        return str(caught.value)


def test_a_plan_with_experts_of_other_names_is_refused_with_how_to_name_them(
    run_ranks: Callable[..., list[Any]],
) -> None:
    assert run_ranks(1, lacks_experts, world=False) == [
        (
            "DeepSpeed 0.19.8 needs the mode 'expert', and the plan has none on this rank.\n"
            "  Enable a plugin that has it, or name the modes, for those of this distribution with "
            "give_experts(context, expert='deepspeed_expert', expert_data='deepspeed_expert_data')."
        )
    ]


def test_a_missing_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.delitem(sys.modules, "deepspeed.utils.groups", raising=False)
    with pytest.raises(pgregistry.ConfigError) as caught:
        adapter.give_experts(None)  # type: ignore[arg-type]
    first, remedy = str(caught.value).splitlines()
    assert first.startswith("pgregistry_deepspeed.adapter needs deepspeed 0.19.8, which cannot be imported: ")
    assert remedy == "  Install it: pip install deepspeed==0.19.8"


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("deepspeed", "deepspeed.utils", "deepspeed.utils.groups"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.99")
    with pytest.raises(pgregistry.ConfigError) as caught:
        adapter.give_experts(None)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "deepspeed 0.99 has no deepspeed.utils.groups._EXPERT_PARALLEL_GROUP; pgregistry_deepspeed.adapter was tried "
        "with 0.19.8.\n  Install that version: pip install deepspeed==0.19.8"
    )
    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    with pytest.raises(pgregistry.ConfigError, match=r"^This deepspeed has no deepspeed\.utils\.groups\._EXPERT"):
        adapter.give_experts(None)  # type: ignore[arg-type]


def not_installed(name: str) -> str:
    """Answer as for a clone on PYTHONPATH."""
    raise importlib.metadata.PackageNotFoundError(name)


def test_the_readme_lists_all_that_is_touched() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in adapter.GROUPS if f"`{name}`" not in readme] == []
