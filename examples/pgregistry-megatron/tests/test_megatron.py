"""Every case of Megatron-Core's own groups, as a plan of its own and as modes of a run; and what is refused."""

from __future__ import annotations

import doctest
import json
import re
from itertools import permutations, product
from math import prod
from pathlib import Path
from typing import Any

import pgregistry_megatron as megatron
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pgregistry_megatron import arguments, groups

import pgregistry
from pgregistry import ConfigError
from pgregistry.testing import PluginConformance

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
CASES = [(case["world_size"], case["args"], case["groups"]) for case in VECTORS["cases"]]
#: Those that a run can be given as sizes: the order is the default one, and no block of ranks is cut out.
SIZED = [
    case
    for case in CASES
    if case[1].get("order", "tp-cp-ep-dp-pp") == "tp-cp-ep-dp-pp" and "rank_offset" not in case[1]
]
REFUSED = [(case["world_size"], case["args"]) for case in VECTORS["refused"] if "api" not in case]
AXES = ("megatron_data_parallel_size", "megatron_context_parallel_size")


class TestMegatron(PluginConformance):
    """All that pgregistry asks of a plugin."""

    plugin = "megatron"
    worlds = (8, 12)


def table(plan: pgregistry.Plan, prefix: str = "") -> dict[str, list[list[int]]]:
    """Return the groups of the modes with a prefix."""
    names = [name for name in plan.modes if name.startswith(prefix)]
    return {name.removeprefix(prefix): [list(group) for group in plan[name].groups] for name in names}


@pytest.mark.parametrize(("world", "args", "expected"), CASES)
def test_plan_has_the_groups_of_megatron_and_no_other(
    world: int, args: dict[str, Any], expected: dict[str, list[list[int]]]
) -> None:
    assert table(megatron.plan(world, **args)) == {
        name: sorted(map(sorted, listed)) for name, listed in expected.items()
    }


@pytest.mark.parametrize(("world", "args", "expected"), SIZED)
def test_the_modes_of_a_run_have_them_too_beside_the_bundled_ones(
    world: int, args: dict[str, Any], expected: dict[str, list[list[int]]]
) -> None:
    sizes: dict[str, Any] = {
        f"megatron_{name}": size for name, size in args.items() if type(size) is int and "virtual" not in name
    }
    extra = list(groups.hierarchical(AXES[1], args.get("hierarchical_context_parallel_sizes", ()), "megatron_"))
    extra += [
        groups.runs(f"megatron_{name}", AXES, int(name.split("_")[-1]))
        for name in expected
        if name.startswith("HYBRID")
    ]
    plan = pgregistry.plan(world, enable=["megatron"], extra=extra, **sizes)
    found = table(plan, "megatron_")
    for name, listed in expected.items():
        assert found[name.removesuffix("_AG")] == sorted(map(sorted, listed)), name
    bundled = pgregistry.plan(world)
    assert all(plan[name].groups == bundled[name].groups for name in bundled)


@pytest.mark.parametrize(("world", "args"), REFUSED)
def test_what_megatron_refuses_is_refused_in_the_names_of_its_arguments(world: int, args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        megatron.plan(world, **args)
    assert any(name in str(raised.value) for name in args)


@pytest.mark.parametrize(
    ("world", "args", "text"),
    [
        (8, {"tensor_model_parallel_size": 3}, "tensor_model_parallel_size = 3 (argument) does not divide world"),
        (8, {"tensor_parallel_size": 2}, "Did you mean 'tensor_model_parallel_size'?"),
        (8, {"order": "cp-dp-pp"}, "does not name tp, cp, ep, dp and pp once"),
        (8, {"order": "tp-dp-tp"}, "does not name tp, cp, ep, dp and pp once"),
        (8, {"order": "tp-dq"}, "does not name tp, cp, ep, dp and pp once"),
        (8, {"order": "tp-pp"}, "has no place for data_parallel_size = 8."),
        (8, {"expert_model_parallel_size": 2, "order": "tp-dp-pp"}, "has no place for expert_model_parallel_size = 2."),
        (8, {"rank_offset": 4}, "rank_offset=4 and local_world_size=None reach beyond world_size=8."),
        (8, {"rank_offset": 4, "local_world_size": 4, "within": [0, 1]}, "within says the ranks already"),
        (8, {"context_parallel_size": 4, "hierarchical_context_parallel_sizes": [2, 3]}, "[2, 3] do not multiply"),
        (8, {"context_parallel_size": 4, "hierarchical_context_parallel_sizes": [-2, -2]}, "[-2, -2] do not multiply"),
        (
            12,
            {"expert_model_parallel_size": 2, "num_distributed_optimizer_instances": 4},
            "num_distributed_optimizer_instances = 4 (argument) does not divide expert_data_parallel_size = 6",
        ),
        (
            8,
            {
                "tensor_model_parallel_size": 2,
                "expert_tensor_parallel_size": 1,
                "num_distributed_optimizer_instances": 8,
            },
            "num_distributed_optimizer_instances = 8 does not divide data_parallel_size × context_parallel_size = 4.",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(world: int, args: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        megatron.plan(world, **args)
    assert text in str(raised.value)


def test_a_run_refuses_gtp_with_several_optimizer_instances_as_megatron_does() -> None:
    sizes: dict[str, Any] = {"megatron_gtp_remat_size": 2, "megatron_num_distributed_optimizer_instances": 2}
    with pytest.raises(ConfigError, match="megatron_num_distributed_optimizer_instances = 2 needs megatron_gtp_remat"):
        pgregistry.plan(8, enable=["megatron"], **sizes)


def test_groups_to_gather_with_have_process_groups_of_their_own() -> None:
    plan = megatron.plan(8, expert_model_parallel_size=2)
    dedicated = {mode.name for mode in plan.planned if mode.dedicated}
    assert dedicated == {"DATA_PARALLEL_GROUP_WITH_CP_AG", "EXPERT_DATA_PARALLEL_GROUP_AG"}


def test_a_plan_may_live_on_some_ranks_in_an_order_of_their_own() -> None:
    plan = megatron.plan(8, tensor_model_parallel_size=2, within=[4, 5, 0, 1])
    assert list(plan["TENSOR_MODEL_PARALLEL_GROUP"].groups) == [(0, 1), (4, 5)]


def test_a_function_may_choose_who_has_embeddings() -> None:
    plan = megatron.plan(
        16,
        pipeline_model_parallel_size=4,
        get_embedding_ranks=lambda ranks: [ranks[0], ranks[1], ranks[-1]],
        rank_offset=8,
        local_world_size=8,
    )
    assert list(plan["EMBEDDING_GROUP"].groups) == [(8, 10, 14), (9, 11, 15)]
    assert list(plan["POSITION_EMBEDDING_GROUP"].groups) == [(8,), (9,)]


def ranks(order: list[str], sizes: dict[str, int], over: set[str]) -> list[list[int]]:
    """By counting: ranks that agree on every axis but some, where the first axis of the order counts fastest."""
    together: dict[tuple[int, ...], list[int]] = {}
    for rank, digits in enumerate(product(*(range(sizes[token]) for token in reversed(order)))):
        where = dict(zip(reversed(order), digits, strict=True))
        together.setdefault(tuple(where[token] for token in order if token not in over), []).append(rank)
    return sorted(together.values())


@settings(deadline=None)
@given(
    order=st.sampled_from(list(permutations(("tp", "cp", "dp", "pp")))),
    numbers=st.tuples(*[st.integers(1, 4)] * 4),
    instances=st.integers(1, 4),
)
def test_any_order_nests_as_counting_says(order: tuple[str, ...], numbers: tuple[int, ...], instances: int) -> None:
    sizes = dict(zip(("tp", "cp", "dp", "pp"), numbers, strict=True))
    args: dict[str, Any] = {groups.DENSE[token]: sizes[token] for token in ("tp", "cp", "pp")}
    text = "-".join(("gtp_remat", *order))
    if sizes["dp"] % instances or (order[-1] != "pp" and sizes["cp"] * sizes["pp"] > sizes["pp"] > 1):
        return  # Megatron-Core wants equal data parallel sizes of dense layers and experts there, or refuses
    plan = megatron.plan(prod(numbers), order=text, num_distributed_optimizer_instances=instances, **args)
    for name, over in groups.DENSE_MODES.items():
        if name in plan:
            assert table(plan)[name] == ranks(list(order), sizes, set(over.split())), name
    whole = ranks(list(order), sizes, {"dp", "cp"})
    if instances > 1:
        length = sizes["dp"] * sizes["cp"] // instances
        runs = sorted(group[at : at + length] for group in whole for at in range(0, len(group), length))
        assert table(plan)["INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP"] == runs


def test_all_modes_are_said_in_axes_whatever_lies_beside_what() -> None:
    args: dict[str, Any] = {
        "context_parallel_size": 4,
        "hierarchical_context_parallel_sizes": [2, 2],
        "hybrid_context_parallel": True,
    }
    plan = megatron.plan(64, tensor_model_parallel_size=2, num_distributed_optimizer_instances=2, **args)
    assert [mode.name for mode in plan.planned if mode.layout is None] == []
    apart = megatron.plan(
        48, order="cp-tp-dp-pp", context_parallel_size=3, tensor_model_parallel_size=2, hybrid_context_parallel=True
    )
    listed = [mode.name for mode in apart.planned if mode.layout is None]
    assert listed == ["HYBRID_DP_CP_GROUP_2", "HYBRID_DP_CP_GROUP_4", "HYBRID_DP_CP_GROUP_8"]
    # cp = 4, dp = 6: a run of 2 or 4 is a part of cp, and one of 8 is cp and two of dp.
    fits = megatron.plan(
        96, order="cp-tp-dp-pp", context_parallel_size=4, tensor_model_parallel_size=4, hybrid_context_parallel=True
    )
    assert [mode.name for mode in fits.planned if mode.layout is None] == []
    assert fits["HYBRID_DP_CP_GROUP_8"].groups[0] == (0, 1, 2, 3, 16, 17, 18, 19)


@pytest.mark.parametrize("name", ["rank_offset", "local_world_size"])
def test_a_block_of_ranks_is_said_in_whole_numbers(name: str) -> None:
    block: dict[str, Any] = {name: "4"}
    with pytest.raises(pgregistry.ConfigError, match=f"{name} = '4' is not a whole number"):
        megatron.plan(8, **block)


def test_the_readme_names_every_mode_with_what_it_is_over() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for name, over in {**groups.DENSE_MODES, **groups.EXPERT_MODES}.items():
        assert f"| `{name}` | {over.split(' if ')[0].replace(' ', ', ')} |" in readme


def test_the_examples_of_the_readme_and_of_docstrings_are_right() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(blocks, {}, "README.md", None, None))
    assert runner.summarize(verbose=False) == (0, 13)
    assert doctest.testmod(arguments).failed == 0
