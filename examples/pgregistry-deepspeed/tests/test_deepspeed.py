"""Every case of DeepSpeed's own groups, as a plan of its own and as modes of a run; and what is refused."""

import doctest
import json
from pathlib import Path
from typing import Any

import pgregistry_deepspeed as deepspeed
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pgregistry
from pgregistry.testing import PluginConformance

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))
CASES = [(case["world_size"], case["args"], case["groups"]) for case in VECTORS["cases"]]
EXPERT = "_create_expert_and_data_parallel"


def table(plan: pgregistry.Plan, prefix: str = "") -> dict[str, list[list[int]]]:
    """Return the groups of the modes with a prefix."""
    names = [name for name in plan.modes if name.startswith(prefix)]
    return {name.removeprefix(prefix): [list(group) for group in plan[name].groups] for name in names}


def as_sizes(args: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes of a run that stand for the arguments of an API."""
    lanes = args.get("mp_mode", "tp") == "tp" and "folding" not in args
    ep = "ep_size_outer" if args.get("use_data_before_expert_parallel") else "ep_size"
    sizes = {
        "num_pp": args.get("num_pp", args.get("pp_size")),
        "num_mp": args.get("num_mp", args.get("mp_size") if lanes else None),
        "num_dp": args.get("num_dp"),
        ep: args.get("ep_size"),
        **{name: args.get(name) for name in ("sequence_parallel_size", "group_size", "device_count")},
    }
    if tensor := args.get("tensor_model_parallel_size", args.get("model_parallel_size")):
        sizes["num_mp"] = tensor
    return {f"deepspeed_{name}": size for name, size in sizes.items() if size is not None}


@pytest.mark.parametrize(("world", "args", "groups"), CASES)
def test_plan_has_the_groups_of_deepspeed(world: int, args: dict[str, Any], groups: dict[str, Any]) -> None:
    assert table(deepspeed.plan(world, **args)) == {name: sorted(listed) for name, listed in groups.items()}


@pytest.mark.parametrize(("world", "args", "groups"), CASES)
def test_the_modes_of_a_run_have_them_too_beside_the_bundled_ones(
    world: int, args: dict[str, Any], groups: dict[str, Any]
) -> None:
    plan = pgregistry.plan(world, enable=["deepspeed"], **as_sizes(args))
    called = {"tensor": "slice", "model": "slice"}
    if args["api"] == EXPERT:
        called["expert_data"] = "expert_data_lanes"
    found = table(plan, "deepspeed_")
    assert {name: found[called.get(name, name)] for name in groups} == {
        name: sorted(listed) for name, listed in groups.items()
    }
    assert plan["data"].groups == pgregistry.plan(world)["data"].groups


def by_lanes(world: int, ep: int, mp: int, pp: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the ranks of each stage lane by lane, cut in runs; and the same position of each run."""
    stage = world // pp
    experts, copies = [], []
    for start in range(0, world, stage):
        ranks = [rank for lane in range(mp) for rank in range(start + lane, start + stage, mp)]
        runs = [ranks[i : i + ep] for i in range(0, stage, ep)]
        experts += [sorted(run) for run in runs]
        copies += [sorted(run[position] for run in runs) for position in range(ep)]
    return sorted(experts), sorted(copies)


@settings(deadline=None)
@given(st.data())
def test_experts_take_ranks_lane_by_lane_and_may_take_several_whole_lanes(data: st.DataObject) -> None:
    mp, pp, lane = (data.draw(st.integers(1, 6)) for _ in range(3))
    widths = [n for n in range(1, lane) if lane % n == 0]
    widths += [lane * n for n in range(1, mp + 1) if mp % n == 0]
    ep, world = data.draw(st.sampled_from(widths)), mp * pp * lane
    plan = deepspeed.plan(world, api=EXPERT, ep_size=ep, mp_size=mp, pp_size=pp)
    assert tuple(table(plan)[name] for name in ("expert", "expert_data")) == by_lanes(world, ep, mp, pp)


def test_blocks_larger_than_the_world_are_the_world() -> None:
    for api, argument in (
        ("_create_zero_param_parallel_group", "group_size"),
        ("_create_model_parallel", "model_parallel_size"),
        ("_get_local_all_to_all_group", "device_count"),
    ):
        args: dict[str, Any] = {argument: 8}
        plan = deepspeed.plan(4, api=api, **args)
        assert [0, 1, 2, 3] in [listed[0] for listed in table(plan).values()]
        assert "all_to_all_global" not in plan.modes


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["detail"])
def test_what_deepspeed_refuses_or_breaks_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(pgregistry.ConfigError):
        deepspeed.plan(case["world_size"], **case["args"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"api": "initialize"}, "api = 'initialize' is not known"),
        ({}, "num_pp is missing"),
        ({"num_pp": 3}, "num_pp = 3 (argument) does not divide"),
        ({"num_pp": 2, "num_dp": 2}, "num_pp × num_dp = 2 × 2 = 4 is not world"),
        ({"num_pp": 2, "num_tp": 2}, "PipelineParallelGrid takes no num_tp"),
        ({"num_pp": 2, "group_size": 2}, "takes no group_size"),
        ({"num_pp": 0}, "num_pp = 0"),
        ({"num_pp": 2, "num_mp": True}, "num_mp = True"),
        ({"num_pp": 2, "ep_size": 3, "use_data_before_expert_parallel": True}, "ep_size = 3 (argument)"),
        ({"api": EXPERT, "ep_size": -2}, "ep_size = -2"),
        ({"api": EXPERT, "ep_size": True}, "ep_size = True"),
        ({"api": EXPERT, "ep_size": 2, "pp_size": 3}, "pp_size × mp_size = 3 × 1 = 3 does not divide"),
        ({"api": EXPERT, "ep_size": 2, "mp_mode": "pp"}, "mp_mode = 'pp'"),
        ({"api": EXPERT, "ep_size": 2, "mp_size": 2, "use_data_before_expert_parallel": True}, "not implemented"),
        ({"api": EXPERT, "ep_size": 2, "folding": {"ep_size": 4}}, "folding: ep_size = 4"),
        ({"api": EXPERT, "ep_size": 2, "folding": {"ep": 4}}, "folding = {'ep': 4}"),
        ({"api": "_create_zero_param_parallel_group", "group_size": 0}, "group_size = 0"),
        ({"api": "_get_local_all_to_all_group", "device_count": 6}, "device_count = 6 (argument) does not divide"),
        ({"api": "_init_tp_mesh_device", "tensor_model_parallel_size": 2, "data_parallel_size": 2}, "is not world = 8"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_argument(args: dict[str, Any], message: str) -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        deepspeed.plan(8, **args)
    assert message in str(caught.value)


class TestDeepspeed(PluginConformance):
    """All that pgregistry asks of a plugin."""

    plugin = "deepspeed"


def test_the_examples_of_the_documentation_are_right() -> None:
    assert doctest.testmod(deepspeed).failed == 0
    readme = doctest.testfile(str(HERE.parent / "README.md"), module_relative=False)
    assert readme.attempted > 0 == readme.failed
