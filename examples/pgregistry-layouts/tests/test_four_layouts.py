"""Every case of the four systems' own groups, as plans of their own and as modes of a run; and what is refused."""

import doctest
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgregistry_layouts import accelerate, colossalai, nanotron, vllm

import pgregistry
from pgregistry.testing import PluginConformance

HERE = Path(__file__).parent
SYSTEMS = ("accelerate", "colossalai", "nanotron", "vllm")
MODULES = {name: importlib.import_module(f"pgregistry_layouts.{name}") for name in SYSTEMS}
VECTORS = {name: json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")) for name in SYSTEMS}
CASES = [(name, case) for name in SYSTEMS for case in VECTORS[name]["cases"]]
REFUSED = [
    pytest.param(name, case, id=f"{name}, {case['detail']}") for name in SYSTEMS for case in VECTORS[name]["refused"]
]


def table(plan: pgregistry.Plan, prefix: str = "") -> dict[str, list[list[int]]]:
    """Return the groups of the modes with a prefix."""
    names = [name for name in plan.modes if name.startswith(prefix)]
    return {name.removeprefix(prefix): [list(group) for group in plan[name].groups] for name in names}


def wanted(case: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Return the groups of a case, without the order that a system has inside them."""
    return {name: sorted(sorted(group) for group in listed) for name, listed in case["groups"].items()}


def as_modes(system: str, world: int, args: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes, and the modes that a query needs, that stand for the arguments of a system."""
    if system == "colossalai":
        sizes = {f"colossalai_size_{axis}": size for axis, size in enumerate(args["size"])}
        asked = []
        for one in args["queries"]:
            indices = one.get("indices")
            if indices or isinstance(one["axis"], list):  # the plugin has a mode for each axis
                said = f" indices={indices}" if indices else ""
                asked.append(colossalai.query(one["axis"], indices, said, "colossalai_"))
        return {"extra": asked, **sizes}
    if system == "nanotron":
        args = {"local_world_size": min(world, 8), **args}
    return {f"{system}_{name}": size for name, size in args.items() if name not in ("is_moe", "enable_eplb")}


@pytest.mark.parametrize(("system", "case"), CASES)
def test_plan_has_the_groups_of_the_system(system: str, case: dict[str, Any]) -> None:
    assert table(MODULES[system].plan(case["world_size"], **case["args"])) == wanted(case)


@pytest.mark.parametrize(("system", "case"), CASES)
def test_the_modes_of_a_run_have_them_too_beside_the_bundled_ones(system: str, case: dict[str, Any]) -> None:
    world = case["world_size"]
    plan = pgregistry.plan(world, enable=[system], **as_modes(system, world, case["args"]))
    found = table(plan, f"{system}_")
    assert {name: found[name] for name in case["groups"]} == wanted(case)
    assert plan["data"].groups == pgregistry.plan(world)["data"].groups


@pytest.mark.parametrize(("system", "case"), REFUSED)
def test_what_the_system_refuses_or_breaks_is_refused(system: str, case: dict[str, Any]) -> None:
    with pytest.raises(pgregistry.ConfigError):
        MODULES[system].plan(case["world_size"], **case["args"])


def test_four_families_live_together_and_move_nobody() -> None:
    alone, together = pgregistry.plan(24, tensor=2), pgregistry.plan(24, tensor=2, enable=SYSTEMS)
    assert {name: together[name].groups for name in alone.modes} == {name: alone[name].groups for name in alone.modes}
    assert {name.split("_")[0] for name in set(together.modes) - set(alone.modes)} == set(SYSTEMS)


def by_rows(world: int, tp: int, pcp: int, dcp: int) -> list[list[int]]:
    """Return runs of dcp ranks: along pcp, then tp, block by block."""
    blocks = range(0, world, tp * pcp)
    ranks = [block + tp * row + column for block in blocks for column in range(tp) for row in range(pcp)]
    return sorted(sorted(ranks[start : start + dcp]) for start in range(0, world, dcp))


def test_indices_of_several_axes_are_lists() -> None:
    with pytest.raises(pgregistry.ConfigError, match="indices are not positions along each axis"):
        colossalai.plan(8, size=[2, 4], queries=[{"axis": [0, 1], "indices": 0}])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.data())
def test_decode_context_runs_through_prefill_context_first(
    tp: int, pcp: int, engines: int, data: st.DataObject
) -> None:
    dcp = data.draw(st.sampled_from([n for n in range(1, tp * pcp + 1) if tp * pcp % n == 0]))
    world = engines * tp * pcp
    plan = vllm.plan(
        world,
        tensor_model_parallel_size=tp,
        prefill_context_model_parallel_size=pcp,
        decode_context_model_parallel_size=dcp,
    )
    assert table(plan)["dcp"] == by_rows(world, tp, pcp, dcp)
    assert (plan["dcp"].layout is None) == (pcp > 1 < dcp)


def test_balancing_experts_has_process_groups_of_its_own() -> None:
    plan = vllm.plan(8, tensor_model_parallel_size=2, data_parallel_size=2, enable_eplb=True)
    assert plan["eplb"].groups == plan["ep"].groups
    assert plan["eplb"].dedicated
    assert not plan["ep"].dedicated


def test_positions_along_several_axes_are_kept_together() -> None:
    plan = colossalai.plan(12, size=[2, 3, 2], queries=[{"axis": [1, 0], "indices": [[0, 2], [1]]}])
    assert table(plan) == {"axis=[1, 0] indices=[[0, 2], [1]]": [[6, 10], [7, 11]]}
    assert table(colossalai.plan(4, size=[2, 2])) == {"axis=0": [[0, 2], [1, 3]], "axis=1": [[0, 1], [2, 3]]}


def test_where_all_sizes_are_1_accelerate_replicates() -> None:
    assert table(accelerate.plan(4)) == {name: [[0, 1, 2, 3]] for name in ("dp_replicate", "dp", "dp_cp")}
    assert accelerate.plan(4, dp_replicate_size=1) == accelerate.plan(4)
    assert accelerate.plan(1).modes == ()


@pytest.mark.parametrize(
    ("module", "args", "message"),
    [
        (vllm, {"tensor_model_parallel_size": 0}, "tensor_model_parallel_size = 0"),
        (vllm, {"data_parallel_size": True}, "data_parallel_size = True"),
        (vllm, {"tensor_parallel_size": 2}, "no size 'tensor_parallel_size'"),
        (vllm, {"tensor_model_parallel_size": 4, "decode_context_model_parallel_size": 3}, "= 3"),
        (nanotron, {"data_parallel_size": 4}, "= 1 × 4 = 4 is not world"),
        (nanotron, {"expert_parallel_size": 2}, "expert_parallel_size = 2"),
        (nanotron, {"expert_parallel_size": True}, "expert_parallel_size = True"),
        (nanotron, {"local_world_size": 4}, "local_world_size = 4"),
        (nanotron, {"context_parallel_size": -1}, "context_parallel_size = -1"),
        (nanotron, {"model_parallel_size": 2}, "no size 'model_parallel_size'"),
        (colossalai, {"size": [2, 2]}, "size = [2, 2]: their product 4 is not the world size 8"),
        (colossalai, {"size": [8, 0]}, "size = [8, 0]"),
        (colossalai, {"size": [8, True]}, "size = [8, True]"),
        (colossalai, {"size": []}, "size = []"),
        (colossalai, {"size": [8], "queries": [{"axis": -1}]}, "axis"),
        (colossalai, {"size": [2, 4], "queries": [{"axis": [0, 0]}]}, "axis"),
        (colossalai, {"size": [2, 4], "queries": [{"axis": 0, "indices": [2]}]}, "indices"),
        (colossalai, {"size": [2, 4], "queries": [{"axis": [0, 1], "indices": [[0]]}]}, "indices"),
        (colossalai, {"size": [2, 4], "queries": [{"axes": 0}]}, "'axes'"),
        (colossalai, {"size": [8], "axes": 1}, "no size 'axes'"),
        (accelerate, {"dp_shard_size": 3}, "= 3 is not world"),
        (accelerate, {"tp_size": True}, "tp_size = True"),
        (accelerate, {"dp_replicate_size": 0}, "dp_replicate_size = 0"),
        (accelerate, {"dp_replicate_size": 4}, "= 4 × 1 = 4 is not world"),
        (accelerate, {"sp_size": 2}, "sp_size = 2 has no mesh"),
        (accelerate, {"pp_size": 2}, "no size 'pp_size'"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_argument(
    module: ModuleType, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        module.plan(8, **args)
    assert message in str(caught.value)


class TestAccelerate(PluginConformance):
    """All that pgregistry asks of a plugin."""

    plugin = "accelerate"


class TestColossalai(PluginConformance):
    """Likewise."""

    plugin = "colossalai"


class TestNanotron(PluginConformance):
    """Likewise."""

    plugin = "nanotron"


class TestVllm(PluginConformance):
    """Likewise; and the one mode that is not in axes is worked out by brute force."""

    plugin = "vllm"

    def expected(self, mode: str, plan: pgregistry.Plan) -> list[list[int]] | None:
        if mode != "vllm_dcp":
            return None
        kinds = ("tensor", "prefill_context", "decode_context")
        return by_rows(plan.world_size, *(plan.sizes[f"vllm_{kind}_model_parallel_size"] for kind in kinds))


def test_the_examples_of_the_documentation_are_right() -> None:
    assert not any(doctest.testmod(module).failed for module in MODULES.values())
    readme = doctest.testfile(str(HERE.parent / "README.md"), module_relative=False)
    assert readme.attempted > 0 == readme.failed
