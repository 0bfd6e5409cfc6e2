"""`context[mode]`: where a rank stands in its group, and the process groups that it has there."""

from typing import Any

import pytest
from ranks import run_ranks

import pgregistry
from pgregistry import WORLD, BuildError, Mode, Split


def all_attributes() -> dict[str, Any]:
    with pgregistry.init(pipe=4, only=["pipe", "tensor"]) as context:
        pipe = context["pipe"]
        names = "mode ranks rank size index next previous is_first is_last".split()
        return {name: getattr(pipe, name) for name in names} | {"same": pipe.cpu_group is pipe.group}


def test_a_handle_says_where_a_rank_stands_in_its_group() -> None:
    first, *_, last = run_ranks(4, all_attributes)
    common = {"mode": "pipe", "ranks": (0, 1, 2, 3), "size": 4, "index": 0, "same": True}
    assert first == common | {"rank": 0, "next": 1, "previous": 3, "is_first": True, "is_last": False}
    assert last == common | {"rank": 3, "next": 0, "previous": 2, "is_first": False, "is_last": True}


def companion(cpu: bool) -> Any:
    import torch
    import torch.distributed as dist
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
    import torch.distributed as dist

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
