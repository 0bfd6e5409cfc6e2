"""`context[mode]`: where a rank stands in its group, and the process groups that it has there."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks
from torch.optim.swa_utils import AveragedModel

import pgregistry
from pgregistry import WORLD, BuildError, ConfigError, Mode, Split


def all_attributes() -> dict[str, Any]:
    with pgregistry.init(pipe=4, only=["pipe", "tensor"]) as context:
        pipe = context["pipe"]
        names = "mode ranks rank size index first next previous is_first is_last".split()
        return {name: getattr(pipe, name) for name in names} | {"same": pipe.cpu_group is pipe.group}


def test_a_handle_says_where_a_rank_stands_in_its_group() -> None:
    first, *_, last = run_ranks(4, all_attributes)
    common = {"mode": "pipe", "ranks": (0, 1, 2, 3), "size": 4, "index": 0, "first": 0, "same": True}
    assert first == common | {"rank": 0, "next": 1, "previous": 3, "is_first": True, "is_last": False}
    assert last == common | {"rank": 3, "next": 0, "previous": 2, "is_first": False, "is_last": True}


def companion(cpu: bool) -> Any:
    from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend "fake"

    half = Mode("half", over=Split(WORLD, inner="half", size=2), backend="fake")
    with pgregistry.init(extra=[half], only=[], cpu=cpu) as context:
        handle = context["half"]
        if not cpu:
            with pytest.raises(BuildError) as raised:
                _ = handle.cpu_group
            return str(raised.value)
        ones = torch.tensor([context.rank])
        dist.all_reduce(ones, group=handle.cpu_group)
        return dist.get_backend(handle.group), dist.get_backend(handle.cpu_group), ones.item()


def test_a_mode_of_another_backend_has_a_gloo_companion_where_asked() -> None:
    assert run_ranks(4, companion, True) == [("fake", "gloo", 1)] * 2 + [("fake", "gloo", 5)] * 2


def test_a_companion_nobody_asked_for_raises_when_it_is_read() -> None:
    said = (
        "Mode 'half' has no gloo process group beside its own, for neither the mode nor the run asked for one. "
        "Pass init(cpu=True), or half={'cpu': True} for this mode alone."
    )
    assert run_ranks(2, companion, False) == [said, said]


# --- copies, pickles, and process groups that are gone


def layer_with(handle: pgregistry.GroupHandle) -> Any:
    layer: Any = torch.nn.Linear(2, 2)
    layer.handle = handle
    return layer


def saved(layer: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    return buffer.getvalue()


def copies() -> list[bool]:
    with pgregistry.init(tensor=2) as context:
        tensor, data = context["tensor"], context["data"]
        layer = layer_with(tensor)
        found = [copy.copy(tensor) is tensor, copy.deepcopy(tensor) is tensor, copy.deepcopy(layer).handle is tensor]
        found += [AveragedModel(layer).module.handle is tensor, copy.deepcopy(context) is context]
        found += [len({tensor, context["tensor"], data}) == 2, tensor != data, hash(tensor) == hash(context["tensor"])]
        with pytest.raises(ConfigError, match="A context cannot be pickled, for its process groups belong to this"):
            pickle.dumps(context)
        text = saved(layer)
    found += [copy.deepcopy(tensor) is tensor, pickle.loads(pickle.dumps(tensor)) == tensor, len({tensor, data}) == 2]
    return [*found, torch.load(io.BytesIO(text), weights_only=False).handle == tensor]


def test_a_handle_is_copied_to_itself_compared_and_hashed_in_a_model_and_after_close_too() -> None:
    assert run_ranks(2, copies) == [[True] * 12] * 2


def unpickled() -> Any:
    """Load on every rank what rank 0 has saved, before there is a context, and use it in several."""
    with pgregistry.init(tensor=2) as context:
        box: list[Any] = [pickle.dumps(context["tensor"])]
        dist.broadcast_object_list(box)
    first, second, third = (pickle.loads(box[0]) for _ in range(3))
    with pytest.raises(BuildError) as raised:
        _ = first.group
    assert repr(first) == "GroupHandle(mode='tensor', pickled and not used yet)"
    with pgregistry.init(tensor=2) as same, pgregistry.init(tensor=4):
        found = [first.group is same["tensor"].group, first.ranks == same["tensor"].ranks, first == same["tensor"]]
    with pytest.raises(BuildError, match="The context is closed, so the process group of mode 'tensor' is destroyed"):
        _ = first.group  # it was looked up in a context that is closed
    with pgregistry.init(tensor=4) as other:
        found += [second.group is other["tensor"].group, second.rank == other.rank]
    with pgregistry.init(disable=["tensor", "model"]), pytest.raises(ConfigError, match="plugin 'tensor' is disabled"):
        _ = third.size
    return found, str(raised.value)


def test_a_pickled_handle_is_that_of_the_rank_and_the_context_in_which_it_is_used() -> None:
    said = (
        "The handle of mode 'tensor' was pickled, and no context is open in which to look its group up. "
        "Call pgregistry.init() before it is used."
    )
    assert run_ranks(4, unpickled) == [([True] * 5, said)] * 4


def gone(what: str) -> list[str]:
    context = pgregistry.init(tensor=2, disable=["nettest"])
    mesh = context.device_mesh("data", "tensor")
    dist.destroy_process_group(context["tensor"].group if what == "one" else None)
    answers = []
    for mode in ("tensor", "pipe"):
        try:
            answers.append(context[mode].group.group_desc)
        except BuildError as error:
            answers.append(str(error))
    context.close()
    return [*answers, mesh.mesh_dim_names[0]]


def test_a_handle_names_a_process_group_that_other_code_destroyed() -> None:
    text = (
        "The process group of mode '{}' is gone: other code destroyed it, or the world with all its process groups. "
        "Close the context first, then destroy the world."
    )
    (all_gone, *_), (one_gone, *_) = run_ranks(4, gone, "world"), run_ranks(4, gone, "one")
    assert all_gone == [text.format("tensor"), text.format("pipe"), "data"]
    assert one_gone == [text.format("tensor"), "pgregistry:dummy/0", "data"]


# --- `context.verify()`: a collective in each group whose result only the right members give


def mixed_up() -> str:
    with pgregistry.init(tensor=2, only=["data", "tensor"]) as context:
        context.process_groups.groups["tensor"] = context["data"].group  # as a swapped order would
        with pytest.raises(BuildError) as raised:
            context.verify()
        return str(raised.value)


def test_a_group_wired_to_other_ranks_is_not_proved() -> None:
    said = (
        "Rank {}: the process group of mode 'tensor', group {} ({}, {}), "
        "is connected to another process in the place of rank {}."
    )
    assert run_ranks(4, mixed_up) == [
        said.format(0, 0, 0, 1, 1),
        said.format(1, 0, 0, 1, 0),
        said.format(2, 1, 2, 3, 2),
        said.format(3, 1, 2, 3, 2),
    ]


def of_a_companion() -> str:
    with pgregistry.init(tensor=2, cpu=True) as context:
        context.verify()
        context.process_groups.companions["tensor"] = context["data"].group
        with pytest.raises(BuildError) as raised:
            context.verify()
        return str(raised.value)


def test_a_companion_is_verified_too() -> None:
    assert [text.partition(", group")[0] for text in run_ranks(4, of_a_companion)] == [
        f"Rank {rank}: the gloo process group of mode 'tensor'" for rank in range(4)
    ]


def broken() -> str:
    with pgregistry.init(tensor=2) as context:
        dist.destroy_process_group(context["tensor"].group)
        context.process_groups.groups["tensor"] = dist.group.WORLD  # of 2 tensors where 4 ranks answer
        with pytest.raises(BuildError) as raised:
            context.verify()
        return str(raised.value)


def test_a_collective_that_fails_names_the_group() -> None:
    for rank, text in enumerate(run_ranks(4, broken)):
        group = (0, 1) if rank < 2 else (2, 3)
        assert text.startswith(
            f"Rank {rank}: all_gather failed in the process group of mode 'tensor', group {rank // 2} {group}: "
        )
