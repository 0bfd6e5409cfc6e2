"""The layouts of other systems in examples/, beside the bundled modes and one another, and the page about them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from distributions import EXAMPLES, FAMILIES, place

import pgregistry

WORLD = 24
BUNDLED: dict[str, Any] = {"tensor": 2, "pipe": 3, "zero1": 2, "nettest": 5}
#: What each family is given: 2 tensor ranks, 3 stages, and 2 of what it has beside.
SIZES: dict[str, dict[str, Any]] = {
    "accelerate": {"tp_size": 2, "dp_shard_size": 3},
    "colossalai": {"size_0": 4, "size_1": 3, "size_2": 2},
    "deepspeed": {"num_mp": 2, "num_pp": 3, "ep_size": 2, "sequence_parallel_size": 4},
    "internevo": {"tensor": 2, "pipeline": 3, "zero1": 2, "expert": 2},
    "megatron": {
        "tensor_model_parallel_size": 2,
        "pipeline_model_parallel_size": 3,
        "expert_model_parallel_size": 2,
        "num_distributed_optimizer_instances": 2,
    },
    "nanotron": {"tensor_parallel_size": 2, "pipeline_parallel_size": 3},
    "torchtitan": {"tp": 2, "pp": 3, "dp_shard": 2, "ep": 4},
    "vllm": {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 3, "data_parallel_size": 2},
}


@pytest.fixture(autouse=True)
def _found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in reversed(place(tmp_path)):
        monkeypatch.syspath_prepend(path)


def sized(*families: str) -> dict[str, Any]:
    return {f"{family}_{name}": size for family in families for name, size in SIZES[family].items()}


def ranks(plan: pgregistry.Plan, prefix: str = "") -> dict[str, list[tuple[int, ...]]]:
    return {name: list(plan[name].groups) for name in plan if name.startswith(prefix)}


def test_every_family_has_sizes_here_and_is_off_until_enabled() -> None:
    assert sorted(FAMILIES) == sorted(SIZES)
    assert pgregistry.plan(WORLD, **BUNDLED).modes == pgregistry.plan(WORLD, **BUNDLED, disable=list(FAMILIES)).modes


@pytest.mark.parametrize("family", sorted(SIZES))
def test_a_family_that_is_enabled_moves_no_bundled_mode(family: str) -> None:
    alone, default = pgregistry.plan(WORLD, **BUNDLED), pgregistry.plan(WORLD, **BUNDLED, enable=[family])
    plan = pgregistry.plan(WORLD, **BUNDLED, enable=[family], **sized(family))
    bundled = ranks(alone)
    assert {name: ranks(default)[name] for name in bundled} == bundled
    assert {name: ranks(plan)[name] for name in bundled} == bundled
    added = set(plan) - set(bundled)
    assert added
    assert {name.partition("_")[0] for name in added} == {family}
    assert max(len(group) for name in added for group in plan[name].groups) > 1


@pytest.mark.parametrize("pair", list(combinations(sorted(SIZES), 2)), ids="-".join)
def test_two_families_together_have_the_ranks_that_each_has_alone(pair: tuple[str, str]) -> None:
    plan = pgregistry.plan(WORLD, **BUNDLED, enable=pair, **sized(*pair))
    assert ranks(pgregistry.plan(WORLD, **BUNDLED)).items() <= ranks(plan).items()
    for family in pair:
        alone = pgregistry.plan(WORLD, **BUNDLED, enable=[family], **sized(family))
        assert ranks(plan, f"{family}_") == ranks(alone, f"{family}_") != {}


def test_all_families_live_together_with_the_bundled_modes() -> None:
    plan = pgregistry.plan(WORLD, **BUNDLED, enable=list(FAMILIES), **sized(*FAMILIES))
    alone = [pgregistry.plan(WORLD, **BUNDLED, enable=[family], **sized(family)) for family in FAMILIES]
    expected = {name: groups for one in alone for name, groups in ranks(one).items()}
    assert ranks(plan) == expected
    assert plan["megatron_TENSOR_MODEL_PARALLEL_GROUP"].groups == plan["tensor"].groups


def test_the_page_of_layouts_is_what_the_plugins_say() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "generate_layouts_page.py"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    page = (EXAMPLES.parent / "docs" / "layouts.md").read_text(encoding="utf-8")
    assert done.stdout == page, "run: make pages"


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_layouts_page", EXAMPLES / "generate_layouts_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_plugin_of_a_family_is_on_the_page(generator: ModuleType) -> None:
    assert sorted(system.module for system in generator.SYSTEMS if system.module) == sorted(FAMILIES.values())
