"""`context.device_mesh`: slices of one root mesh, over the process groups of the plan."""

from typing import Any

import pytest

import pgregistry
from pgregistry import Axis, ConfigError, Mode, Split
from pgregistry.runtime.device_mesh import root_modes

SHARDS = Split("data", inner="shard", outer="replicate", size=2)
HYBRID = (Mode("shard", over=SHARDS), Mode("replicate", over=SHARDS.outer))


@pytest.mark.parametrize(
    ("modes", "root"),
    [
        (["tensor"], ("data", "pipe", "tensor")),
        (["data", "tensor"], ("data", "pipe", "tensor")),
        (["model"], ("data", "model")),
        (["shard"], ("replicate", "shard", "pipe", "tensor")),
        (["replicate", "shard", "tensor"], ("replicate", "shard", "pipe", "tensor")),
        (["global"], ("global",)),
    ],
)
def test_the_root_mesh_is_over_all_axes(modes: list[str], root: tuple[str, ...]) -> None:
    assert root_modes(pgregistry.plan(16, tensor=2, pipe=2, extra=HYBRID), modes) == root


def test_axes_of_size_1_are_dimensions_too_so_that_all_slices_have_one_root() -> None:
    plan = pgregistry.plan(8, tensor=2)
    assert root_modes(plan, ["tensor"]) == root_modes(plan, ["data"]) == ("data", "pipe", "tensor")


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        (["nettest"], "Mode 'nettest' cannot be a dimension of a mesh: its last group is short."),
        (["ends"], "Mode 'ends' cannot be a dimension of a mesh: it keeps some positions of its groups only."),
        (["odd"], "Mode 'odd' cannot be a dimension of a mesh: its groups are listed by a function."),
        (["data", "zero1"], "Modes 'data' and 'zero1' share an axis, so they cannot be dimensions of one mesh."),
        (
            ["zero1"],
            (
                "No modes of the plan make up a mesh of all 16 ranks together with zero1. "
                "Each axis, or each part of a split of it, needs a mode of its own."
            ),
        ),
    ],
)
def test_what_spans_no_mesh_is_refused_by_name(modes: list[str], said: str) -> None:
    extra = (Mode("ends", over="pipe", at=(0, -1)), Mode("odd", groups=lambda mesh: [[0, 5]]))
    plan = pgregistry.plan(16, tensor=2, pipe=2, zero1=2, nettest=3, extra=extra)
    with pytest.raises(ConfigError) as raised:
        root_modes(plan, modes)
    assert str(raised.value) == said


def test_many_modes_with_equal_groups_do_not_make_the_search_long() -> None:
    """Trying every one of them in every dimension would take hours."""
    axes = [f"axis{number}" for number in range(8)]
    extra = [Mode(f"{axis}-{copy}", over=Axis(axis)) for axis in axes for copy in range(8)]
    plan = pgregistry.plan(512, extra=extra, only=[], order=axes, **dict.fromkeys(axes, 2))
    with pytest.raises(ConfigError, match="No modes of the plan make up a mesh of all 512 ranks together with axis0-3"):
        root_modes(plan, ["axis0-3"])


def sums() -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    def over(mesh: Any) -> int:
        power = torch.tensor([2**context.rank])
        dist.all_reduce(power, group=mesh.get_group())
        return int(power.item())

    with pgregistry.init(tensor=2, pipe=1, extra=HYBRID) as context:
        flat = context.device_mesh("data", "tensor")
        hybrid = context.device_mesh("replicate", "shard")
        return {
            "shapes": [tuple(flat.shape), tuple(hybrid.shape)],
            "same group": hybrid["shard"].get_group() is context["shard"].group,
            "data": over(flat["data"]),
            "tensor": over(context.device_mesh("tensor")),
            "replicate": over(hybrid["replicate"]),
            "shard": over(hybrid["shard"]),
            "replicate × shard": over(hybrid._flatten("all_data")),
            "data × tensor": over(flat._flatten("everyone")),
            "one root": context.device_mesh("tensor")._get_root_mesh() is flat._get_root_mesh(),
        }


def powers(*ranks: int) -> int:
    return sum(2**rank for rank in ranks)


def test_slices_and_flattened_slices_sum_over_exactly_the_ranks_that_they_should(run_ranks: Any) -> None:
    answers = run_ranks(8, sums)
    common = {"shapes": [(4, 2), (2, 2)], "same group": True, "one root": True, "data × tensor": powers(*range(8))}
    assert answers[5] == common | {
        "data": powers(1, 3, 5, 7),
        "tensor": powers(4, 5),
        "replicate": powers(1, 5),
        "shard": powers(5, 7),
        "replicate × shard": powers(1, 3, 5, 7),
    }
    assert answers[0]["replicate × shard"] == powers(0, 2, 4, 6)


def within_half() -> Any:
    import torch
    import torch.distributed as dist

    rank = dist.get_rank()
    half = range(4) if rank < 4 else range(4, 8)
    with pgregistry.init(within=half, tensor=2) as context:
        mesh = context.device_mesh("data", "tensor")
        power = torch.tensor([2**rank])
        dist.all_reduce(power, group=mesh["data"].get_group())
        return mesh.mesh.tolist(), power.item()


def test_a_mesh_within_some_ranks_is_over_these_ranks(run_ranks: Any) -> None:
    answers = run_ranks(8, within_half)
    assert answers[1] == ([[0, 1], [2, 3]], powers(1, 3))
    assert answers[6] == ([[4, 5], [6, 7]], powers(4, 6))


def wrong_calls() -> list[str]:
    said = []
    with pgregistry.init(tensor=2, extra=[Mode("ring", over=Axis("ring", inside="tensor"))]) as context:
        for modes in (("tensor", "data"), ("tensr",), ()):
            with pytest.raises(ConfigError) as raised:
                context.device_mesh(*modes)
            said.append(str(raised.value))
    return said


def test_wrong_calls_say_what_would_be_right(run_ranks: Any) -> None:
    assert run_ranks(4, wrong_calls)[2] == [
        (
            "device_mesh('tensor', 'data') must name modes outermost first, as torch slices a mesh. "
            "Use device_mesh('data', 'tensor')."
        ),
        "There is no mode 'tensr'. Did you mean 'tensor'?",
        "device_mesh() must be given names of modes, such as data, pipe, tensor, ring.",
    ]
