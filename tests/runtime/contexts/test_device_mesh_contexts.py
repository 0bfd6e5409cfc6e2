"""Device meshes of several contexts: one after another and at once, in a world that somebody else started."""

from __future__ import annotations

from typing import Any

import pytest
from ranks import run_ranks

import pgregistry


def placed(mesh: Any) -> Any:
    import torch
    from torch.distributed.tensor import Shard, distribute_tensor

    return distribute_tensor(torch.arange(16.0).view(4, 4), mesh, [Shard(0), Shard(1)])


def multiplied(mesh: Any) -> float:
    """Return a sum that DTensor makes with collectives over both dimensions."""
    one = placed(mesh)
    return float((one @ one).full_tensor().sum().item())


EXPECTED = 3920.0


def again() -> list[float]:
    answers = []
    for _ in range(3):
        with pgregistry.init(tensor=2) as context:
            answers.append(multiplied(context.device_mesh("data", "tensor")))
    return answers


@pytest.mark.parametrize("how", ["name", pytest.param("public", marks=pytest.mark.slow)])
@pytest.mark.parametrize("world", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_dtensor_works_after_a_second_init_of_the_same_sizes(world: bool, how: str) -> None:
    env = {} if how == "name" else {"PGREGISTRY_BUILD": "public"}
    assert run_ranks(4, again, world=world, env=env) == [[EXPECTED] * 3] * 4


def two(close_first: bool) -> dict[str, float]:
    import torch.distributed as dist

    one, other = pgregistry.init(tensor=2), pgregistry.init(tensor=2)
    answers = {"one": multiplied(one.device_mesh("data", "tensor"))}
    mesh = other.device_mesh("data", "tensor")
    answers["other"] = multiplied(mesh)
    whole = placed(mesh)
    made = whole @ whole  # DTensor finds it in its cache, with the mesh of the first context
    closed, left = (one, other) if close_first else (other, one)
    closed.close()
    answers["a DTensor of before"] = float(made.full_tensor().sum().item())
    answers["new ones"] = multiplied(left.device_mesh("data", "tensor"))
    left.verify()
    with pgregistry.init(tensor=2) as third:
        answers["a third"] = multiplied(third.device_mesh("data", "tensor"))
    with pgregistry.init(tensor=2):  # it has the names of the first that was closed, and makes no mesh
        answers["a DTensor beside a third"] = float(made.full_tensor().sum().item())
    answers["a DTensor after a third"] = float(made.full_tensor().sum().item())
    left.close()
    answers["the world is left"] = float(dist.is_initialized())
    return answers


@pytest.mark.parametrize("how", ["name", pytest.param("public", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("close_first", "world"), [(True, True), (False, True), pytest.param(True, False, marks=pytest.mark.slow)]
)
def test_closing_one_of_two_contexts_leaves_the_other_whole(close_first: bool, world: bool, how: str) -> None:
    env = {} if how == "name" else {"PGREGISTRY_BUILD": "public"}
    dtensors = [f"a DTensor {when}" for when in ("of before", "beside a third", "after a third")]
    names = ("one", "other", *dtensors, "new ones", "a third")
    answer = {**dict.fromkeys(names, EXPECTED), "the world is left": float(world)}
    assert run_ranks(4, two, close_first, env=env, world=world) == [answer] * 4


def trained_beside() -> bool:
    """Save a model that was trained beside an equal one whose context is closed."""
    import torch
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    def step(context: Any) -> Any:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 4))
        mesh = context.device_mesh("data", "tensor")
        parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel(), "1": RowwiseParallel()})
        fully_shard(model, mesh=mesh["data"])
        optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
        model(torch.ones(2, 4)).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return model, optimizer

    def tensors(model: Any, optimizer: Any) -> list[Any]:
        states = [value for state in optimizer.state.values() for value in state.values()]
        found = [*model.parameters(), *states]
        return [one.full_tensor() if hasattr(one, "full_tensor") else one for one in found]

    one, other = pgregistry.init(tensor=2), pgregistry.init(tensor=2)
    before = tensors(*step(one))
    trained = step(other)
    one.close()
    after = tensors(*trained)
    other.close()
    return len(after) == 16 and all(map(torch.equal, before, after))


@pytest.mark.slow
def test_a_model_that_was_trained_beside_another_can_be_saved_when_that_is_gone() -> None:
    assert run_ranks(4, trained_beside) == [True] * 4


def world_destroyed_first() -> bool:
    import torch.distributed as dist

    context = pgregistry.init(tensor=2)
    multiplied(context.device_mesh("data", "tensor"))
    dist.destroy_process_group()
    context.close()
    return True


def test_closing_after_the_world_is_destroyed_is_no_error() -> None:
    assert run_ranks(4, world_destroyed_first) == [True] * 4


def failed_beside_a_collective() -> str:
    """Leave a context by an error, while this rank still holds its mesh."""
    import torch
    import torch.distributed as dist

    rank, kept = dist.get_rank(), []
    try:
        with pgregistry.init(tensor=2, timeout=60) as context:
            kept.append(context.device_mesh("tensor"))
            if rank == 0:
                raise ValueError("this rank is wrong")
            dist.all_reduce(torch.ones(1), group=kept[0].get_group())
    except (RuntimeError, ValueError) as error:
        return type(error).__name__
    return "no error"


@pytest.mark.timeout(50)
def test_a_mesh_that_is_kept_lets_ranks_go_that_wait_for_one_that_failed() -> None:
    assert run_ranks(4, failed_beside_a_collective, timeout=40)[:2] == ["ValueError", "RuntimeError"]
