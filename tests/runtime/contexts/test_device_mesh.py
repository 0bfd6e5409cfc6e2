"""`context.device_mesh`: slices of root meshes, over the process groups of the plan."""

import logging
import warnings
from typing import Any

import needs
import pytest
from ranks import alive

import pgregistry
from pgregistry import Axis, BuildError, ConfigError, Mode, Split

SHARDS = Split("data", inner="shard", outer="replicate", size=2)
HYBRID = (Mode("shard", over=SHARDS), Mode("replicate", over=SHARDS.outer))


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


@needs.MESHES
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


EXTRA = (
    Mode("ring", over=Axis("ring", inside="tensor")),
    Mode("ends", over="tensor", at=0),
    Mode("odd", groups=lambda mesh: [[0, 3]]),
)


def wrong_calls() -> dict[str, Any]:
    said: list[str] = []
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("tensr",), {}),
        ((3,), {}),
        ((), {"dp": "dta"}),
        (("data", "data"), {}),
        (("data",), {"dp": "data"}),
        (("model", "tensor"), {}),
        (("data", "zero1"), {}),
        (("ends",), {}),
        (("odd",), {}),
        (("nettest",), {}),
        ((), {"pipe": "data"}),
        ((), {"data": "tensor", "tensor": "data"}),
        (("zero1",), {}),
    ]
    with pgregistry.init(tensor=2, nettest=3, zero1=2, extra=EXTRA) as context:
        before = alive()
        for modes, names in calls:
            with pytest.raises(ConfigError) as raised:
                context.device_mesh(*modes, **names)
            said.append(str(raised.value))
        return {"said": said, "made": alive() - before}


def test_wrong_calls_are_errors_on_every_rank_that_say_what_would_be_right(run_ranks: Any) -> None:
    plan = pgregistry.plan(8, tensor=2, nettest=3, zero1=2, extra=EXTRA)
    modes = ", ".join(plan.modes)
    able = ", ".join(mode for mode in plan.modes if mode not in ("ends", "nettest", "odd"))
    said = [
        "There is no mode 'tensr'. Did you mean 'tensor'?",
        f"There is no mode 3. There are {', '.join(sorted(modes.split(', '))[:-1])} and zero1.",
        "There is no mode 'dta'. Did you mean 'data'?",
        "device_mesh() must name each mode once, but 'data' is there twice. Leave one out.",
        "device_mesh() must name each mode once, but 'data' is there twice. Leave one out.",
        (
            "Modes 'model' and 'tensor' share an axis, so they cannot be dimensions of one mesh. "
            "Leave one out, or ask for a mesh of each."
        ),
        (
            "Modes 'data' and 'zero1' share an axis, so they cannot be dimensions of one mesh. "
            "Leave one out, or ask for a mesh of each."
        ),
        (
            "Mode 'ends' cannot be a dimension of a mesh: it keeps some positions of its groups only. "
            f"The modes that can are {able}."
        ),
        (
            "Mode 'odd' cannot be a dimension of a mesh: its groups are listed by a function. "
            f"The modes that can are {able}."
        ),
        f"Mode 'nettest' cannot be a dimension of a mesh: its last group is short. The modes that can are {able}.",
        (
            "device_mesh(pipe='data') must not give a dimension the name of another mode. "
            f"Choose a name other than {modes}."
        ),
        (
            "device_mesh(data='tensor') must not give a dimension the name of another mode. "
            f"Choose a name other than {modes}."
        ),
        (
            "No modes of the plan make up a mesh of all 8 ranks together with zero1. "
            "Each axis, or each part of a split of it, needs a mode of its own."
        ),
    ]
    for answer in run_ranks(8, wrong_calls):
        assert answer["said"] == said
        assert answer["made"] == 0


def closed_and_outside() -> list[str]:
    said = []
    import torch.distributed as dist

    with pgregistry.init(within=[0, 1], tensor=2) as context:
        if dist.get_rank() < 2:
            return ["inside"]
        for names in ((), ("tensor",)):
            with pytest.raises(BuildError) as raised:
                context.device_mesh(*names)
            said.append(str(raised.value).partition(".")[0])
    with pytest.raises(BuildError) as raised:
        context.device_mesh()
    return [*said, str(raised.value)]


def test_a_closed_context_and_one_without_groups_have_no_mesh(run_ranks: Any) -> None:
    assert run_ranks(3, closed_and_outside)[2] == [
        "Rank 2 is in no group of mode 'data'",
        "Rank 2 is in no group of mode 'data'",
        "The context is closed, so its process groups are destroyed.",
    ]


def hybrid_at(shard: int) -> dict[str, Any]:
    """Shard a weight over a mesh of copies and shards, as a script does that does not know the sizes."""
    import torch
    from torch.distributed.fsdp import fully_shard

    split = Split("data", inner="shard", outer="replicate")
    extra = [Mode("shard", over=split), Mode("replicate", over=split.outer)]
    with pgregistry.init(shard=shard, extra=extra) as context:
        mesh = context.device_mesh("replicate", "shard")
        linear = torch.nn.Linear(16, 16)
        fully_shard(linear, mesh=mesh)
        return {
            "shape": tuple(mesh.shape),
            "local": tuple(linear.weight.to_local().shape),
            "one root": context.device_mesh("shard", "replicate")._get_root_mesh() is mesh._get_root_mesh(),
        }


@needs.MESHES
@pytest.mark.parametrize("shard", [1, *(pytest.param(size, marks=pytest.mark.slow) for size in (2, 4))])
def test_copies_and_shards_are_asked_for_alike_at_every_size(shard: int, run_ranks: Any) -> None:
    expected = {"shape": (4 // shard, shard), "local": (16 // shard, 16), "one root": shard != 2}
    assert run_ranks(4, hybrid_at, shard) == [expected] * 4


def names_and_roots() -> dict[str, Any]:
    with pgregistry.init(tensor=2, pipe=2) as context:
        root = context.device_mesh()
        mesh = context.device_mesh(dp="data", tp="tensor")
        turned = context.device_mesh("tensor", pp="pipe", dp="data")
        return {
            "root": root.mesh_dim_names,
            "one root": context.device_mesh("data", "tensor")._get_root_mesh() is root,
            "names": (mesh.mesh_dim_names, mesh._get_root_mesh().mesh_dim_names),
            "same": context.device_mesh(data="data", tensor="tensor") == context.device_mesh("data", "tensor"),
            "groups": mesh["dp"].get_group() is context["data"].group,
            "turned": turned.mesh_dim_names,
            "turned is a root": turned._get_root_mesh() is turned,
            "groups of turned": [turned.get_group(name) is context[mode].group for name, mode in TURNED],
            "made once": context.device_mesh("tensor", pp="pipe", dp="data") is turned,
        }


TURNED = [("tensor", "tensor"), ("pp", "pipe"), ("dp", "data")]


@needs.MESHES
def test_dimensions_can_have_other_names_and_no_names_are_the_root(run_ranks: Any) -> None:
    assert run_ranks(8, names_and_roots)[3] == {
        "root": ("data", "pipe", "tensor"),
        "one root": True,
        "names": (("dp", "tp"), ("dp", "pipe", "tp")),
        "same": True,
        "groups": True,
        "turned": ("tensor", "pp", "dp"),
        "turned is a root": True,
        "groups of turned": [True] * 3,
        "made once": True,
    }


def flattened() -> dict[str, Any]:
    import torch
    from torch.distributed.tensor import DTensor, Partial, Replicate
    from torch.distributed.tensor.debug import CommDebugMode

    extra = [Mode("data_tensor", over=("data", "tensor")), Mode("alone", over=("data", "tensor"), dedicated=True)]
    with pgregistry.init(tensor=2, pipe=2, extra=extra) as context, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: "Slicing a flattened dim from root mesh will be deprecated"
        before = alive()
        mesh = context.device_mesh("data", "tensor")
        root = mesh._get_root_mesh()
        with CommDebugMode() as calls:
            part = DTensor.from_local(torch.ones(()) * (1 + context.rank), mesh, [Partial(), Partial()])
            total = part.redistribute(mesh, [Replicate(), Replicate()]).to_local().item()
        turned = context.device_mesh("tensor", "data")._get_root_mesh()
        named = context.device_mesh(dp="data", tp="tensor")
        return {
            "total": total == sum(1 + rank for rank in context["data_tensor"].ranks),
            "calls": sum(calls.get_comm_counts().values()),
            "by torch's names": [
                mesh._flatten("data_tensor").get_group() is context["data_tensor"].group,
                root["pipe", "tensor"]._flatten("model").get_group() is context["model"].group,
                root["model"].get_group() is context["model"].group,
                mesh.get_group("model") is context["model"].group,
                root._flatten("global").get_group() is context["global"].group,
                named._flatten("data_tensor").get_group() is context["data_tensor"].group,
                named._get_root_mesh()["data"].get_group() is context["data"].group,
            ],
            "ranks": root["model"].mesh.tolist() == list(context["model"].ranks),
            "other order": sorted(turned._flatten_mapping),
            "made": alive() - before,
        }


@pytest.mark.slow
def test_modes_over_whole_dimensions_are_flattened_dimensions_with_their_process_groups(run_ranks: Any) -> None:
    assert (
        run_ranks(8, flattened)
        == [
            {
                "total": True,
                "calls": 1,
                "by torch's names": [True] * 7,
                "ranks": True,
                "other order": ["model", "zero1"],  # its ranks are in another order in the rest
                "made": 0,
            }
        ]
        * 8
    )


def flattened_of_one() -> bool:
    """A script that flattens two dimensions works at sizes 1, too."""
    with pgregistry.init() as context:
        before = alive()
        mesh = context.device_mesh("pipe", "tensor")._flatten("model")
        return mesh.get_group() is context["model"].group and mesh.size() == 1 and alive() == before


@needs.MESHES
def test_dimensions_of_size_1_are_flattened_as_others_are(run_ranks: Any) -> None:
    assert run_ranks(2, flattened_of_one) == [True, True]


def without_flattened_dimensions() -> Any:
    from pgregistry.torch_private import root_mesh

    root_mesh.available = lambda root: False
    with pgregistry.init(tensor=2) as context:
        mesh = context.device_mesh("data", "model")
        return mesh._flatten_mapping, mesh.mesh.tolist(), mesh.get_group("model") is context["model"].group


@needs.MESHES
def test_a_torch_that_keeps_no_flattened_dimensions_has_meshes_by_public_calls(run_ranks: Any) -> None:
    assert run_ranks(4, without_flattened_dimensions) == [({}, [[0, 1], [2, 3]], True)] * 4


def orders_that_are_warned_of() -> list[str]:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logging.getLogger("pgregistry").addHandler(handler)
    with pgregistry.init(tensor=2, pipe=2) as context:
        for names in (("data", "tensor"), ("pipe", "data", "tensor"), ("tensor", "pipe"), ("tensor", "data")):
            said.append(" ".join(names))
            context.device_mesh(*names)
    return said


def test_one_rank_warns_of_an_order_that_fails_in_torch_when_it_is_asked_for(run_ranks: Any) -> None:
    asked = ["data tensor", "pipe data tensor", "tensor pipe", "tensor data"]
    first, *others = run_ranks(8, orders_that_are_warned_of)
    assert others == [asked] * 7
    assert first == [
        *asked,
        (
            "WARNING The root mesh (pipe, tensor, data) has 'tensor' before 'data'. If FSDP shards over 'data' what is "
            "sharded over 'tensor', torch trains it, but raises KeyError in clip_grad_norm_() and in full_tensor() of "
            "a sum. Name 'data' before 'tensor' in device_mesh(), and slice that mesh."
        ),
    ]


def clip_in_an_order(*names: str) -> str:
    import torch
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    with pgregistry.init(tensor=2) as context:
        mesh = context.device_mesh(*names)
        linear = torch.nn.Linear(4, 16)
        parallelize_module(linear, mesh["tensor"], ColwiseParallel())
        fully_shard(linear, mesh=mesh["data"])
        linear(torch.ones(2, 4)).sum().backward()
        try:
            norm: Any = torch.nn.utils.clip_grad_norm_(linear.parameters(), 1.0)
            norm.full_tensor()
        except KeyError as error:
            return str(error)
        return "clipped"


@pytest.mark.slow
def test_the_order_that_is_warned_of_does_fail_in_torch(run_ranks: Any) -> None:
    """If this torch can clip it, the warning is to go."""
    assert run_ranks(4, clip_in_an_order, "data", "tensor") == ["clipped"] * 4
    assert all("ascending order" in said for said in run_ranks(4, clip_in_an_order, "tensor", "data"))
