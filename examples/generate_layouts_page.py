"""Print docs/layouts.md: the modes of other systems beside those of pgregistry, found by planning all of them.

No name is matched by hand. Sizes are primes, so the size of a group says what a mode is over, and the distance
of its ranks where that is nested.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pgregistry import Plan, PlannedMode, plan_modes

HERE: Final = Path(__file__).parent

PLUGINS: Final = HERE.parent / "plugins"

#: Data is copies of shards, and a shard has the ranks for a number of experts.
TENSOR, PIPE, CONTEXT, COPIES, REST, EXPERT = 2, 3, 7, 5, 13, 11
ZERO1 = REST * EXPERT
DATA = COPIES * ZERO1
#: The name of each number of ranks. A group over several has the name of the first that divides it, then of the next.
NAMES: Final = {
    PIPE: "pipe",
    DATA: "data",
    ZERO1: "zero1",
    COPIES * REST: "data / expert",
    REST: "zero1 / expert",
    COPIES: "data / zero1",
    EXPERT: "expert",
    CONTEXT: "context",
    TENSOR: "tensor",
}


@dataclass(frozen=True)
class System:
    """A system whose groups a plugin has.

    Attributes:
        title: Its name.
        module: The plugin's module; empty for the bundled plugins.
        sizes: The sizes to plan it with; none if its axes have no meaning of their own.
    """

    title: str
    module: str
    sizes: Mapping[str, int]

    def plan(self) -> Plan:
        """Plan the modes that its plugin declares, at its sizes."""
        prefix = f"{self.module.removeprefix('pgregistry_').rpartition('.')[2]}_" if self.module else ""
        product = prod(self.sizes.values())
        world = TENSOR * DATA * prod(size for size in (PIPE, CONTEXT) if product % size == 0)
        modes = [mode for plugin in self._plugins() for mode in plugin.pgregistry_modes()]
        sizes: dict[str, Any] = {prefix + name: size for name, size in self.sizes.items()}
        planned = plan_modes(world, modes, **sizes)
        names = [replace(mode, name=mode.name.removeprefix(prefix)) for mode in planned.planned]
        return replace(planned, planned=tuple(names))

    def _plugins(self) -> list[ModuleType]:
        if not self.module:
            optional = importlib.metadata.distribution("pgregistry").entry_points.select(group="pgregistry.optional")
            off = {point.module for point in optional}
            names = sorted(path.stem for path in PLUGINS.glob("pgregistry_*.py"))
            return [importlib.import_module(name) for name in names if name not in off]
        sys.path.append(str(next(HERE.glob(f"*/{self.module.partition('.')[0]}*")).parent))
        return [importlib.import_module(self.module)]


INTRODUCTION: Final = """\
# Layouts of other systems

This page shows which groups other systems build, beside those of the bundled modes, so that you can find a mode by
the name that you know. Each system is a distribution in [examples/](../examples) that plans its groups rank for rank.
`make pages` writes this page from what these plugins plan, and a test compares it.

## Nesting

With the same sizes, another nesting makes other groups. `order=` sets the nesting of pgregistry for a run, outermost
first; the argument `order` of Megatron-Core sets its own, innermost first."""
MODES: Final = """\
## Modes

*a / b* is what b leaves of a: with data = 8 and expert = 2, data / expert is 4. *zero1* is the ranks inside data that
share one copy of what is sharded, so data / zero1 is the copies: optimizer instances in Megatron-Core, replicas in
torchtitan and accelerate. A system without contexts is planned without them, and one without a size for shards or
experts likewise. The table leaves out modes of one rank alone, modes with a short last group, and modes listed by a
function (vLLM's `dcp`). It also leaves out what an argument adds to the modes of Megatron-Core: hierarchical and hybrid
context parallelism, and groups for all-gathers. InternEvo's modes for 2-D sequences are parts of tensor, here all of
it. DeepSpeed's `sequence`, `all_to_all_local` and `zero_param_intra` are adjacent ranks, here one."""

SYSTEMS: Final = (
    System("pgregistry", "", {"tensor": TENSOR, "pipe": PIPE, "zero1": ZERO1}),
    System(
        "Megatron-Core",
        "pgregistry_megatron",
        {
            "tensor_model_parallel_size": TENSOR,
            "pipeline_model_parallel_size": PIPE,
            "context_parallel_size": CONTEXT,
            "expert_model_parallel_size": EXPERT,
            "num_distributed_optimizer_instances": COPIES,
        },
    ),
    System(
        "InternEvo",
        "pgregistry_internevo",
        {"tensor": TENSOR, "pipeline": PIPE, "zero1": ZERO1, "expert": EXPERT},
    ),
    System(
        "DeepSpeed",
        "pgregistry_deepspeed",
        {"num_mp": TENSOR, "num_pp": PIPE, "num_dp": DATA, "ep_size": EXPERT},
    ),
    System(
        "torchtitan",
        "pgregistry_torchtitan",
        {
            "tp": TENSOR,
            "pp": PIPE,
            "cp": CONTEXT,
            "dp_shard": ZERO1,
            "dp_replicate": COPIES,
            "ep": EXPERT * CONTEXT * TENSOR,
        },
    ),
    System(
        "vLLM",
        "pgregistry_layouts.vllm",
        {
            "tensor_model_parallel_size": TENSOR,
            "pipeline_model_parallel_size": PIPE,
            "prefill_context_model_parallel_size": CONTEXT,
            "data_parallel_size": DATA,
        },
    ),
    System(
        "nanotron",
        "pgregistry_layouts.nanotron",
        {"tensor_parallel_size": TENSOR, "pipeline_parallel_size": PIPE, "context_parallel_size": CONTEXT},
    ),
    System(
        "accelerate",
        "pgregistry_layouts.accelerate",
        {"tp_size": TENSOR, "cp_size": CONTEXT, "dp_shard_size": ZERO1, "dp_replicate_size": COPIES},
    ),
    System(
        "ColossalAI",
        "pgregistry_layouts.colossalai",
        {},
    ),
)


def over(mode: PlannedMode) -> str | None:
    """Return what a mode is over, by the size of its groups; None for a list, a short end, or each rank alone."""
    if mode.layout is None or mode.layout.ragged or not mode.layout.factors:
        return None
    size, names = prod(size for size, _ in mode.layout.factors), []
    for number, name in NAMES.items():
        if size % number == 0:
            size //= number
            names.append(name)
    at = mode.layout.at
    return " × ".join(names) + (f", at {at}" if at else "")


def nesting(plan: Plan, among: str) -> str:
    """Return the modes, one with a word in its name, that make up the world with the fewest words, outermost first."""
    strides: dict[str, int] = {}
    for mode in plan.planned:
        if mode.layout is not None and mode.layout.at is None and (name := over(mode)):
            strides.setdefault(name, mode.layout.factors[-1][1])
    sizes = {name: prod(size for size, part in NAMES.items() if part in name.split(" × ")) for name in strides}
    found = [
        names
        for count in range(1, 5)
        for names in combinations(sizes, count)
        if prod(sizes[name] for name in names) == plan.world_size and any(among in name.split() for name in names)
    ]
    best = min(found, key=lambda names: (" ".join(names).count("×"), len(names)), default=())
    return " ⊃ ".join(sorted(best, key=lambda name: -strides[name]))


def page() -> Iterator[str]:
    """Yield the page, line by line."""
    plans = {system.title: system.plan() for system in SYSTEMS if system.sizes}
    yield from INTRODUCTION.splitlines()
    yield from ("", "| system | the world, outermost first | in layers with experts |", "|---|---|---|")
    for title, plan in plans.items():
        yield f"| {title} | {nesting(plan, 'data')} | {nesting(plan, 'expert')} |"
    yield "| ColossalAI | the axes of `ProcessGroupMesh(*size)` in their order, to which it gives no meaning | |"
    yield from ("", *MODES.splitlines(), "", "| over | system | modes |", "|---|---|---|")
    rows: dict[str, dict[str, list[str]]] = {}
    for title, plan in plans.items():
        for mode in plan.planned:
            if name := over(mode):
                rows.setdefault(name, {}).setdefault(title, []).append(f"`{mode.name}`")
    for name in sorted(rows, key=lambda name: (name.count("×"), " at " in name, _place(name))):
        for number, (title, modes) in enumerate(rows[name].items()):
            yield f"| {'' if number else name} | {title} | {', '.join(modes)} |"


def _place(name: str) -> list[int]:
    order = list(NAMES.values())
    return [order.index(word) for word in name.partition(",")[0].split(" × ")]


if __name__ == "__main__":
    print("\n".join(page()))
