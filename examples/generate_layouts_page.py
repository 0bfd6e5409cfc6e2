"""Print docs/layouts.md: the modes of other systems beside those of pgregistry, found by planning all of them.

No name is matched by hand. Sizes are primes, so the size of a group says what a mode is over, and the distance
of its ranks where that is nested.
"""

from __future__ import annotations

import ast
import importlib
import io
import sys
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pgregistry import Plan, plan_modes
from pgregistry.planning.plans.mode import PlannedMode

HERE: Final = Path(__file__).parent

PLUGINS: Final = HERE.parent / "plugins"

#: Data is copies of shards, and a shard has the ranks for a number of experts.
TENSOR, PIPE, CONTEXT, COPIES, REST, EXPERT = 2, 3, 7, 5, 13, 11
ZERO1 = REST * EXPERT
DATA = COPIES * ZERO1
#: What each number of ranks is called; a group of several is called after the first that divides it, then the next.
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
        title: What it is called.
        module: The plugin's module; empty for the bundled plugins.
        sizes: The sizes to plan it with; none where its axes have no meaning of their own.
        version: Whose code was counted.
        code: The files of that which make groups: lines of code as `code_lines` counts them, and all lines.
    """

    title: str
    module: str
    sizes: Mapping[str, int]
    version: str = ""
    code: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """Its plugin: a module, or all modules of a package."""
        name = self.module.replace(".", "/") or "none"
        return sorted([*HERE.glob(f"*/{name}.py"), *HERE.glob(f"*/{name}/*.py")])

    def plan(self) -> Plan:
        """The modes that its plugin declares, at its sizes."""
        prefix = f"{self.module.removeprefix('pgregistry_').rpartition('.')[2]}_" if self.module else ""
        said = prod(self.sizes.values())
        world = TENSOR * DATA * prod(size for size in (PIPE, CONTEXT) if said % size == 0)
        modes = [mode for plugin in self._plugins() for mode in plugin.pgregistry_modes()]
        sizes: dict[str, Any] = {prefix + name: size for name, size in self.sizes.items()}
        planned = plan_modes(world, modes, **sizes)
        names = [replace(mode, name=mode.name.removeprefix(prefix)) for mode in planned.planned]
        return replace(planned, planned=tuple(names))

    def _plugins(self) -> list[ModuleType]:
        if not self.module:
            return [importlib.import_module(path.stem) for path in sorted(PLUGINS.glob("pgregistry_*.py"))]
        sys.path.append(str(next(HERE.glob(f"*/{self.module.partition('.')[0]}*")).parent))
        return [importlib.import_module(self.module)]


INTRODUCTION: Final = """\
# Layouts of other systems

This page shows which groups other systems build, beside those of the bundled modes, so that you can find a mode by
the name that you know. Each system is a distribution in [examples/](../examples) that plans its groups rank for rank.
`make docs` writes this page from what these plugins plan, and a test compares it.

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
LINES: Final = """\
## Lines of code

Lines with code on them: none that is empty, a comment or a docstring. Both sides are counted in the same way.
There: the whole files that make the groups and answer for them; of Megatron-Core's 1,709 lines, ten functions and
classes make groups (`initialize_model_parallel`, `create_all_gather_groups`, `RankGenerator` and seven smaller
ones) and have 931. Here: the modes, the plugin, and what reads and refuses the arguments of the system (for
Megatron-Core in a module of its own); process groups are pgregistry's matter for them all."""

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
        "megatron-core 0.19.2",
        {"megatron/core/parallel_state.py": (1709, 2692)},
    ),
    System(
        "InternEvo",
        "pgregistry_internevo",
        {"tensor": TENSOR, "pipeline": PIPE, "zero1": ZERO1, "expert": EXPERT},
        "InternEvo 0.5.2",
        {
            "internlm/core/context/parallel_context.py": (401, 673),
            "internlm/core/context/process_group_initializer.py": (465, 934),
        },
    ),
    System(
        "DeepSpeed",
        "pgregistry_deepspeed",
        {"num_mp": TENSOR, "num_pp": PIPE, "num_dp": DATA, "ep_size": EXPERT},
        "deepspeed 0.19.8",
        {
            "deepspeed/utils/groups.py": (569, 982),
            "deepspeed/runtime/pipe/topology.py": (227, 472),
            "deepspeed/module_inject/auto_ep_folding.py": (286, 509),
            "deepspeed/runtime/sequence_parallel/parallel_state_sp.py": (56, 104),
        },
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
        "torchtitan 0.3.0",
        {"torchtitan/distributed/parallel_dims.py": (428, 719)},
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
        "vllm 0.33.0",
        {"vllm/distributed/parallel_state.py": (1948, 2778)},
    ),
    System(
        "nanotron",
        "pgregistry_layouts.nanotron",
        {"tensor_parallel_size": TENSOR, "pipeline_parallel_size": PIPE, "context_parallel_size": CONTEXT},
        "nanotron 0.4",
        {"nanotron/parallel/context.py": (94, 129)},
    ),
    System(
        "accelerate",
        "pgregistry_layouts.accelerate",
        {"tp_size": TENSOR, "cp_size": CONTEXT, "dp_shard_size": ZERO1, "dp_replicate_size": COPIES},
        "accelerate 1.15.0",
        {"accelerate/parallelism_config.py": (275, 409)},
    ),
    System(
        "ColossalAI",
        "pgregistry_layouts.colossalai",
        {},
        "colossalai 0.5.0",
        {"colossalai/cluster/process_group_mesh.py": (129, 276)},
    ),
)


def over(mode: PlannedMode) -> str | None:
    """What a mode is over, by the size of its groups; None for a list, a short end, or each rank alone."""
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
    """The modes, one of them with a word in its name, that make up the world with the fewest words, outermost first."""
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


def code_lines(source: str) -> int:
    """How many lines have code on them: not those that are empty, a comment or a docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    nothing = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in nothing]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - documented)


def page() -> Iterator[str]:
    """The page, line by line."""
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
    yield from (
        "",
        *LINES.splitlines(),
        "",
        "| system | lines of code here | there | all lines there | counted there |",
    )
    yield "|---|---|---|---|---|"
    for system in SYSTEMS:
        if system.code:
            here = {path.name: code_lines(path.read_text(encoding="utf-8")) for path in system.files}
            parts = ", ".join(f"{name} {count}" for name, count in here.items()) if len(here) > 1 else ""
            there, whole = (sum(counts) for counts in zip(*system.code.values(), strict=True))
            files = ", ".join(f"`{file}`" for file in system.code)
            mine = f"{sum(here.values())}{f' ({parts})' if parts else ''}"
            yield f"| {system.title} | {mine} | {there:,} | {whole:,} | {system.version}: {files} |"


def _place(name: str) -> list[int]:
    order = list(NAMES.values())
    return [order.index(word) for word in name.partition(",")[0].split(" × ")]


if __name__ == "__main__":
    print("\n".join(page()))
