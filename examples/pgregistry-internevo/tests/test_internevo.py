"""Every case of InternEvo's own groups, as a plan of its own and as modes of a run; and what is refused."""

import doctest
import json
from pathlib import Path
from typing import Any

import pgregistry_internevo as internevo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pgregistry
from pgregistry.testing import PluginConformance

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))
CASES = VECTORS["cases"]


def table(plan: pgregistry.Plan, prefix: str = "") -> dict[str, list[list[int]]]:
    """Return the groups of the modes with a prefix."""
    names = [name for name in plan.modes if name.startswith(prefix)]
    return {name.removeprefix(prefix): [list(group) for group in plan[name].groups] for name in names}


def wanted(case: dict[str, Any]) -> dict[str, list[list[int]]]:
    return {name: sorted(listed) for name, listed in case["groups"].items()}


def as_sizes(case: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes of a run that stand for a configuration."""
    parallel, derived = case["args"]["parallel"], case["derived"]
    sizes = {name: parallel[name]["size"] for name in ("pipeline", "tensor")}
    sizes |= {name: derived[name] for name in ("zero1", "expert", "expert_tensor")}
    if parallel["tensor"]["mode"] == "isp":
        sizes |= {"weight": parallel["weight"]["size"], "expert_weight": derived["expert_weight"]}
    if two := parallel.get("sequence_2D"):
        placement = two["device_placement_strategy"]
        sizes |= {"context": two["context_size"], "window": two["window_size"]}
        sizes |= {"head": two["head_size"]} if placement["head_first"] else {}
        sizes |= {"window_pair": 2} if placement["interleaved"] else {}
    return {f"internevo_{name}": size for name, size in sizes.items()}


@pytest.mark.parametrize("case", CASES)
def test_plan_has_the_groups_of_internevo(case: dict[str, Any]) -> None:
    assert table(internevo.plan(case["world_size"], **case["args"])) == wanted(case)


@pytest.mark.parametrize("case", CASES)
def test_the_modes_of_a_run_have_them_too_beside_the_bundled_ones(case: dict[str, Any]) -> None:
    plan = pgregistry.plan(case["world_size"], enable=["internevo"], **as_sizes(case))
    found = table(plan, "internevo_")
    assert {name: found[name] for name in case["groups"]} == wanted(case)
    assert plan["data"].groups == pgregistry.plan(case["world_size"])["data"].groups


def two_d(head: int, context: int, window: int, *, head_first: bool, interleaved: bool) -> dict[str, Any]:
    """Return a configuration of heads and windows that fill the tensor axis."""
    placement = {"head_first": head_first, "interleaved": interleaved}
    sequence = {"enable": True, "head_size": head, "context_size": context, "window_size": window}
    return {
        "tensor": {"size": head * context, "mode": "isp"},
        "sequence_2D": {**sequence, "device_placement_strategy": placement},
    }


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans())
def test_windows_are_runs_of_context_or_every_other_rank_of_a_pair_of_windows(
    head: int, window: int, pairs: int, blocks: int, head_first: bool, interleaved: bool
) -> None:
    context = 2 * pairs * window
    step = head if head_first else 1  # between neighbours in context
    starts = [
        block * head * context + lane * (1 if head_first else context)
        for block in range(blocks)
        for lane in range(head)
    ]
    order = list(range(context))
    if interleaved:
        order = [2 * window * pair + 2 * k + side for pair in range(pairs) for side in (0, 1) for k in range(window)]
    ranks = [[start + step * place for place in order] for start in starts]
    plan = table(
        internevo.plan(
            blocks * head * context,
            parallel=two_d(head, context, window, head_first=head_first, interleaved=interleaved),
        )
    )
    assert plan["context"] == sorted(sorted(one) for one in ranks)
    assert plan["intra_window"] == sorted(one[i : i + window] for one in ranks for i in range(0, context, window))
    assert plan["inter_window"] == sorted(sorted(one[i::window]) for one in ranks for i in range(window))


def test_copies_of_windows_have_process_groups_of_their_own() -> None:
    plan = internevo.plan(8, parallel=two_d(2, 4, 2, head_first=True, interleaved=False))
    assert [name for name in plan.modes if plan[name].dedicated] == ["dkv_inter_window", "dkv_intra_window"]
    assert plan["dkv_intra_window"].groups == plan["intra_window"].groups


def test_by_default_all_ranks_share_data_and_a_number_stands_for_a_size() -> None:
    assert table(internevo.plan(4)) == {name: [[0, 1, 2, 3]] for name in ("nettest", "data", "zero1")} | {
        "tensor": [[0], [1], [2], [3]]
    }
    assert internevo.plan(8, parallel={"tensor": 2}) == internevo.plan(8, parallel={"tensor": {"size": 2}})


def test_by_default_experts_share_as_many_ranks_as_can_hold_one_each() -> None:
    parallel = {"tensor": 2, "expert": {"size": -1, "no_tp": True}}
    assert table(internevo.plan(8, parallel=parallel, model={"num_experts": 4}))["expert"] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]
    plan = internevo.plan(8, parallel=parallel, model={"num_experts": 16, "hidden_size": 4096})
    assert table(plan)["expert"] == [[0, 1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["detail"])
def test_what_internevo_refuses_or_passes_over_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(pgregistry.ConfigError):
        internevo.plan(case["world_size"], **case["args"])


@pytest.mark.parametrize(
    ("parallel", "message"),
    [
        ({"tensor": 3}, "pipeline × tensor = 1 × 3 = 3 does not divide world size 8"),
        ({"pipeline": 3}, "pipeline × tensor = 3 × 1 = 3 does not divide world size 8"),
        ({"weight": 3}, "pipeline × weight = 1 × 3 = 3 does not divide world size 8"),
        ({"tensor": 0}, "tensor: size = 0 is not a whole number from 1."),
        ({"tensor": True}, "tensor: size = True"),
        ({"zero1": 0}, "zero1: size = 0 is not a whole number from 1, nor -1."),
        ({"zero1": 3}, "zero1 = 3 (argument) does not divide"),
        ({"tensor": {"size": 2, "mode": "tp"}}, "tensor mode = 'tp' is none of"),
        ({"tensor": {"siz": 2}}, "tensor has no siz. It takes mode, size."),
        ({"tensors": 2}, "parallel has no tensors. It takes"),
        ({"tensor": "2"}, "tensor = '2' is not a table"),
        ({"tensor": {"size": 2, "mode": "isp"}, "expert_weight": 3}, "expert_weight = 3 (argument) does not divide"),
        (two_d(1, 8, 3, head_first=True, interleaved=False), "window_size = 3 does not divide context_size = 8"),
        (two_d(1, 8, 8, head_first=True, interleaved=True), "context_size / window_size = 8 / 8 is odd"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_the_argument(parallel: dict[str, Any], message: str) -> None:
    with pytest.raises(pgregistry.ConfigError) as caught:
        internevo.plan(8, parallel=parallel)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "args", [{"tensor": 2}, {"model": {"num_expert": 4}}, {"model": {"num_experts": 0}}, {"model": 4}]
)
def test_other_arguments_are_errors(args: dict[str, Any]) -> None:
    with pytest.raises(pgregistry.ConfigError):
        internevo.plan(8, **args)


class TestInternevo(PluginConformance):
    """All that pgregistry asks of a plugin."""

    plugin = "internevo"


def test_the_examples_of_the_documentation_are_right() -> None:
    assert doctest.testmod(internevo).failed == 0
    readme = doctest.testfile(str(HERE.parent / "README.md"), module_relative=False)
    assert readme.attempted > 0 == readme.failed
