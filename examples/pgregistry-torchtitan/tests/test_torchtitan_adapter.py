"""torchtitan's own class has the ranks and trains with the meshes of a context; and what the adapter refuses."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pgregistry_torchtitan import adapter

import pgregistry

needs_torchtitan = pytest.mark.skipif(
    not [*importlib.metadata.distributions(name="torchtitan")], reason="torchtitan is not installed"
)
ONE: dict[str, Any] = {"dp_replicate": 1, "dp_shard": 1, "cp": 1, "tp": 1, "pp": 1, "ep": 1}
DEGREES: list[dict[str, Any]] = [
    {**ONE, "dp_shard": 2, "tp": 2, "ep": 2},
    {**ONE, "dp_replicate": 2, "dp_shard": 2},
    {**ONE, "cp": 2, "tp": 2, "ep": 4},
    {**ONE, "pp": 2, "dp_shard": 2},
]


def ranks(dims: Any) -> dict[str, list[int]]:
    """Return the ranks of each mesh of one axis."""
    return {name: mesh.mesh.flatten().tolist() for name, mesh in dims.get_all_one_dimensional_meshes().items()}


def compared() -> list[tuple[dict[str, list[int]], dict[str, list[int]], int, int]]:
    """Return the ranks of our meshes and of torchtitan's own, and how many process groups each makes."""
    import torch.distributed as dist
    import torchtitan.distributed.parallel_dims as theirs
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - torchtitan's own meshes use this backend

    theirs.device_type = "cpu"  # torchtitan's own meshes are CUDA's
    results = []
    for degrees in DEGREES:
        sizes: dict[str, Any] = {f"torchtitan_{name}": degree for name, degree in degrees.items()}
        with pgregistry.init(enable=["torchtitan"], backend="gloo", **sizes) as context:
            for backend in ("partial_dtensor", "full_dtensor", "spmd_types"):
                before = dist.get_pg_count()
                dims = adapter.parallel_dims(context, spmd_backend=backend)
                assert isinstance(dims, theirs.ParallelDims)
                made, before = dist.get_pg_count() - before, dist.get_pg_count()
                own = theirs.ParallelDims(**degrees, world_size=context.world_size, spmd_backend=backend)
                own.build_mesh()
                results.append((ranks(dims), ranks(own), made, dist.get_pg_count() - before))
    return results


@needs_torchtitan
def test_every_mesh_has_the_ranks_of_torchtitan_and_makes_no_process_group(run_ranks: Callable[..., list[Any]]) -> None:
    for results in run_ranks(4, compared, world=False, timeout=250):
        assert len(results) == 12
        for ours, theirs, made, made_by_them in results:
            assert ours == theirs
            assert made == 0 < made_by_them


def trained() -> tuple[list[float], list[float]]:
    """Train FSDP × TP on the meshes, with torchtitan's clipping and sum of losses; and in one process."""
    import torch
    import torchtitan.distributed.utils as utils
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    def model() -> torch.nn.Sequential:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))

    def batch(step: int) -> torch.Tensor:
        return torch.randn(8, 8, generator=torch.Generator().manual_seed(step))

    net, expected = model(), []
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, foreach=False)
    for step in range(5):
        loss = (net(batch(step)) - batch(step).flip(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.3)
        optimizer.step()
        expected.append(loss.item())
    sizes: dict[str, Any] = {f"torchtitan_{name}": degree for name, degree in DEGREES[0].items()}
    with pgregistry.init(enable=["torchtitan"], backend="gloo", **sizes) as context:
        dims = adapter.parallel_dims(context)
        net, read = model(), dims.get_mesh("batch")
        parallelize_module(net, dims.get_mesh("tp"), {"0": ColwiseParallel(), "2": RowwiseParallel()})
        fully_shard(net, mesh=dims.get_mesh("fsdp"))
        optimizer, losses = torch.optim.AdamW(net.parameters(), lr=0.01, foreach=False), []
        for step in range(5):
            x = batch(step).chunk(read.size())[read.get_local_rank()]
            loss = (net(x) - x.flip(1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            utils.clip_grad_norm_(net.parameters(), 0.3)
            optimizer.step()
            losses.append(utils.dist_sum(loss.detach(), dims.get_mesh("loss")) / read.size())
    return losses, expected


@needs_torchtitan
def test_fsdp_and_tp_train_as_one_process(run_ranks: Callable[..., list[Any]]) -> None:
    for losses, expected in run_ranks(4, trained, world=False, timeout=250):
        assert losses == pytest.approx(expected, abs=1e-4)


def installed(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    """Install a torchtitan of another version."""
    for name in ("torchtitan", "torchtitan.distributed", "torchtitan.distributed.parallel_dims"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    vars(sys.modules["torchtitan.distributed.parallel_dims"]).update(names)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.99")


def refusal(context: Any = None, **keywords: Any) -> str:
    """Return the text of an error."""
    with pytest.raises(pgregistry.ConfigError) as caught:
        adapter.parallel_dims(context, **keywords)
    return str(caught.value)


def test_a_missing_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchtitan", None)
    first, remedy = refusal().splitlines()
    assert first.startswith("pgregistry_torchtitan.adapter needs torchtitan 0.3.0, which cannot be imported: ")
    assert remedy == "  Install it: pip install torchtitan==0.3.0"


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, ParallelDims=type("ParallelDims", (), {}))
    assert refusal() == (
        "torchtitan 0.99 has no ParallelDims._validate_meshes; pgregistry_torchtitan.adapter was tried with 0.3.0.\n"
        "  Install that version: pip install torchtitan==0.3.0"
    )
    installed(monkeypatch, ParallelDims=type("ParallelDims", (), dict.fromkeys(adapter.TOUCHED)))
    assert refusal().startswith("torchtitan 0.99 has no ParallelDims.dp_replicate; ")
    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    assert refusal().startswith("This torchtitan has no ParallelDims.dp_replicate; ")


def not_installed(name: str) -> str:
    """Answer as for a clone on PYTHONPATH."""
    raise importlib.metadata.PackageNotFoundError(name)


def lacks_a_mode() -> str:
    """Return the text of an error."""
    with pytest.MonkeyPatch.context() as monkeypatch, pgregistry.init(backend="gloo") as context:
        names = dict.fromkeys((*adapter.TOUCHED, *adapter.FIELDS))
        installed(monkeypatch, ParallelDims=type("ParallelDims", (), names))
        return refusal(context)


def test_a_plan_without_the_modes_is_refused(run_ranks: Callable[..., list[Any]]) -> None:
    assert run_ranks(1, lacks_a_mode, world=False) == [
        (
            "torchtitan 0.3.0 with spmd_backend 'partial_dtensor' needs the mode 'batch', and the plan has none on "
            "this rank.\n  Enable the plugin: init(enable=['torchtitan'])."
        )
    ]


def test_the_readme_lists_all_that_is_touched() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in adapter.TOUCHED if f"`{name}" not in readme] == []
