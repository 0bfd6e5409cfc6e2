"""The modes keep what every mode keeps, have the ranks of the README, and carry a layer of experts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist

import pgregistry
from pgregistry.testing import PluginConformance

AT_8 = {"expert": "0 2 · 1 3 · 4 6 · 5 7", "expert_data": "0 4 · 1 5 · 2 6 · 3 7"}
AT_24 = {
    "expert": "0 4 8 · 1 5 9 · 2 6 10 · 3 7 11 · 12 16 20 · 13 17 21 · 14 18 22 · 15 19 23",
    "expert_data": "0 12 · 1 13 · 2 14 · 3 15 · 4 16 · 5 17 · 6 18 · 7 19 · 8 20 · 9 21 · 10 22 · 11 23",
}


class TestExpert(PluginConformance):
    """All that pgregistry asks of a plugin."""

    plugin = "expert"


def table(plan: pgregistry.Plan) -> dict[str, str]:
    """Return the groups of both modes, as people write them."""
    modes = ("expert", "expert_data")
    return {name: " · ".join(" ".join(map(str, group)) for group in plan[name].groups) for name in modes}


def test_experts_are_neighbours_along_data_and_copies_are_across() -> None:
    assert table(pgregistry.plan(8, tensor=2, expert=2)) == AT_8
    assert table(pgregistry.plan(24, tensor=2, pipe=2, expert=3)) == AT_24


def test_by_default_each_rank_has_all_experts_and_data_holds_the_copies() -> None:
    plan = pgregistry.plan(8, tensor=2)
    assert list(plan["expert"].groups) == [(rank,) for rank in range(8)]
    assert plan["expert_data"].groups == plan["data"].groups


def test_more_experts_than_data_has_are_refused() -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        pgregistry.plan(8, tensor=2, expert=3)
    assert str(caught.value) == (
        "expert = 3 (keyword) does not divide data = 4 (what is left).\n  expert could be 1, 2 or 4."
    )


def layer() -> tuple[list[float], float]:
    """One layer of experts: tokens go to the rank that holds their expert, gradients to the copies of it."""
    with pgregistry.init(expert=2, backend="gloo") as context:
        experts, copies = context["expert"], context["expert_data"]
        tokens = torch.tensor([float(10 * context.rank + expert) for expert in range(experts.size)])
        mine = torch.empty_like(tokens)
        dist.all_to_all_single(mine, tokens, group=experts.group)
        gradient = mine.sum()
        dist.all_reduce(gradient, group=copies.group)
        return mine.tolist(), gradient.item()


def test_tokens_reach_their_expert_and_gradients_its_copies(run_ranks: Callable[..., list[Any]]) -> None:
    assert run_ranks(4, layer) == [
        ([0.0, 10.0], 60.0),
        ([1.0, 11.0], 64.0),
        ([20.0, 30.0], 60.0),
        ([21.0, 31.0], 64.0),
    ]
