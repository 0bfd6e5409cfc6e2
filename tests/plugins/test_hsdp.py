"""HSDP: shards inside each host, copies across hosts; off until enabled."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pgregistry_hsdp import pgregistry_modes

import pgregistry
from pgregistry import Mode

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODES: list[Mode] = list(pgregistry_modes())
ROOT = Path(__file__).parents[2]
#: Ranks, ranks a host and sizes, with the groups of shard and replicate.
TABLE = [
    (8, 4, {"tensor": 2}, "0 2 · 1 3 · 4 6 · 5 7", "0 4 · 1 5 · 2 6 · 3 7"),
    (8, 4, {}, "0 1 2 3 · 4 5 6 7", "0 4 · 1 5 · 2 6 · 3 7"),
    (8, 8, {"tensor": 2}, "0 2 4 6 · 1 3 5 7", "0 · 1 · 2 · 3 · 4 · 5 · 6 · 7"),
    (8, 2, {"tensor": 2}, "0 · 1 · 2 · 3 · 4 · 5 · 6 · 7", "0 2 4 6 · 1 3 5 7"),
    (8, 2, {"tensor": 4}, "0 · 1 · 2 · 3 · 4 · 5 · 6 · 7", "0 4 · 1 5 · 2 6 · 3 7"),
    (12, 6, {"tensor": 2}, "0 2 4 · 1 3 5 · 6 8 10 · 7 9 11", "0 6 · 1 7 · 2 8 · 3 9 · 4 10 · 5 11"),
    (8, 4, {"tensor": 2, "replicate": 1}, "0 2 4 6 · 1 3 5 7", "0 · 1 · 2 · 3 · 4 · 5 · 6 · 7"),
    (8, 4, {"tensor": 2, "order": ["tensor", "data"]}, "0 1 2 3 · 4 5 6 7", "0 · 1 · 2 · 3 · 4 · 5 · 6 · 7"),
]


def written(groups: Any) -> str:
    return " · ".join(" ".join(map(str, group)) for group in groups)


@pytest.mark.parametrize(("world", "host", "sizes", "shard", "replicate"), TABLE)
def test_shards_lie_inside_a_host_and_copies_across(
    world: int, host: int, sizes: dict[str, Any], shard: str, replicate: str
) -> None:
    plan = pgregistry.plan(world, ranks_per_host=host, only=["data", "tensor"], extra=MODES, **sizes)
    assert (written(plan["shard"].groups), written(plan["replicate"].groups)) == (shard, replicate)


def test_it_moves_nobody() -> None:
    plain, hsdp = (pgregistry.plan(16, tensor=2, pipe=2, ranks_per_host=4, extra=extra) for extra in ((), MODES))
    assert all(plain[name].groups == hsdp[name].groups for name in plain)


def test_it_is_off_until_enabled() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points["pgregistry.optional"] == {"hsdp": "pgregistry_hsdp"}
    assert "hsdp" not in points["pgregistry"]


def trained() -> tuple[list[int], list[float]]:
    """Return what each rank holds of the weights, and the weights after a step, which is the mean over all of data."""
    import torch
    from torch.distributed.fsdp import fully_shard

    with pgregistry.init(tensor=2, ranks_per_host=4, extra=MODES, backend="gloo") as context:
        mesh = context.device_mesh("replicate", "shard")
        torch.manual_seed(0)
        model = torch.nn.Linear(8, 1, bias=False)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        model(torch.full((1, 8), float(context["data"].rank))).sum().backward()
        optimizer.step()
        assert mesh["shard"].get_group() is context["shard"].group
        held: Any = model.weight
        return list(context["shard"].ranks), held.full_tensor().flatten().tolist()


@pytest.mark.slow  # importing FSDP takes long on eight ranks
def test_fsdp2_shards_inside_hosts_and_sums_over_all_of_data(run_ranks: Any) -> None:
    import torch

    torch.manual_seed(0)
    expected = (torch.nn.Linear(8, 1, bias=False).weight - 1.5).flatten().tolist()
    for rank, (shard, weights) in enumerate(run_ranks(8, trained, world=False)):
        assert shard == [rank & ~2, rank | 2]
        assert weights == pytest.approx(expected)


def with_local_world_size(modes: list[Mode], own: list[int]) -> str:
    """Return what becomes of `init` on a rank that is told of hosts of another size."""
    os.environ["LOCAL_WORLD_SIZE"] = str(own[int(os.environ["RANK"])])
    try:
        with pgregistry.init(only=["data"], extra=modes, backend="gloo") as context:
            return str(context.plan.ranks_per_host)
    except pgregistry.PgregistryError as error:
        return str(error)


def test_unequal_hosts_are_refused_on_every_rank_if_a_mode_needs_them_and_else_no_matter(run_ranks: Any) -> None:
    assert run_ranks(4, with_local_world_size, [], [1, 3, 3, 3], world=False) == ["1", "3", "3", "3"]
    texts = set(run_ranks(4, with_local_world_size, MODES, [1, 2, 2, 2], world=False))
    assert len(texts) == 1
    text = texts.pop()
    assert "size shard:" in text
    assert "ranks 1-3: 2 (ranks_per_host, LOCAL_WORLD_SIZE)" in text
    assert "rank 0: 1 (ranks_per_host, LOCAL_WORLD_SIZE)" in text
    alone, *others = run_ranks(4, with_local_world_size, MODES, [1, 3, 3, 3], world=False)
    assert all(text.startswith("shard = HOST must have an equal share on each host") for text in others)
    assert "no error" in alone
    assert others[0].splitlines()[0] in alone
