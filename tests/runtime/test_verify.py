"""`context.verify()`: a collective in each group whose result only the right members give."""

import pytest
from ranks import run_ranks

import pgregistry
from pgregistry import BuildError


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
