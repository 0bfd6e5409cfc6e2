"""Measure planning one rank with all of Megatron-Core's modes, beside its own `initialize_model_parallel`.

The peer runs on torch's fake backend: it makes every process group object of the world, and no
connection. Both are measured in fresh processes, in turn. Megatron-Core is put into a temporary folder
and uses the torch that is here.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import measure

EXAMPLE = Path(__file__).parents[1] / "examples" / "pgregistry-megatron"
RANK, PEER_SECONDS = 1_234, 300
#: What both take, and what only we are given: Megatron-Core needs einops for the rest.
SHARED = {
    "tensor_model_parallel_size": 8,
    "pipeline_model_parallel_size": 16,
    "context_parallel_size": 4,
    "expert_model_parallel_size": 16,
    "expert_tensor_parallel_size": 2,
}
ALL = {
    **SHARED,
    "hierarchical_context_parallel_sizes": [2, 2],
    "hybrid_context_parallel": True,
    "num_distributed_optimizer_instances": 4,
}


def ours(world: int, arguments: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of a plan with one rank's groups: the first in this process, then the median of many."""
    sys.path.append(str(EXAMPLE))
    import pgregistry_megatron

    def planned() -> Any:
        plan = pgregistry_megatron.plan(world, **arguments)
        return [mode.group_of(RANK) for mode in plan.planned]

    first = measure.timed(planned)
    return {
        "first": first,
        "again": measure.repeated(planned),
        "modes": len(planned()),
        "torch": "torch" in sys.modules,
        "rss": measure.peak_rss(),
    }


def theirs(world: int, folder: str) -> dict[str, float]:
    """Return the seconds of `initialize_model_parallel` on this rank, without imports and the world itself."""
    warnings.simplefilter("ignore")
    sys.path.append(folder)
    import torch.distributed as dist
    from megatron.core import parallel_state
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=RANK, world_size=world, store=FakeStore())
    made, new_group = [0], dist.new_group

    def counted(*args: Any, **keywords: Any) -> Any:
        made[0] += 1
        return new_group(*args, **keywords)

    dist.new_group = counted
    begun = time.perf_counter()
    parallel_state.initialize_model_parallel(**SHARED, create_gloo_process_groups=False)
    return {"seconds": time.perf_counter() - begun, "groups": made[0], "rss": measure.peak_rss()}


def show(world: int, folder: str, missing: str, rounds: int) -> None:
    answers: dict[str, list[Any]] = {"all": [], "shared": [], "theirs": []}
    for _ in range(rounds):
        answers["all"].append(measure.child(__file__, "ours", world, ALL))
        answers["shared"].append(measure.child(__file__, "ours", world, SHARED))
        if not missing and None not in answers["theirs"]:
            answers["theirs"].append(measure.child(__file__, "theirs", world, folder, seconds=PEER_SECONDS))
    peer = [one for one in answers["theirs"] if one]
    whole = median(one["seconds"] for one in peer) if peer else None
    rows = []
    for name, title in (
        ("all", "pgregistry_megatron.plan + one rank's groups"),
        ("shared", "  with the arguments below"),
    ):
        modes, memory = (median(one[key] for one in answers[name]) for key in ("modes", "rss"))
        for key, remark in (("again", ""), ("first", ", the first in a process")):
            seconds = median(one[key] for one in answers[name])
            ratio = f"{whole / seconds:,.0f} ×" if whole else ""
            rows.append(
                (f"{title}{remark}", f"{modes:.0f} modes", measure.duration(seconds), ratio, measure.mib(memory))
            )
    notes = [
        f"Aim: below 50 ms at 65,536 ranks. torch was imported by us: {any(one['torch'] for one in answers['all'])}."
    ]
    if whole:
        groups, memory = (median(one[key] for one in peer) for key in ("groups", "rss"))
        rows.append(
            (
                "initialize_model_parallel, fake backend",
                f"{groups:,.0f} new_group",
                measure.duration(whole),
                "1 ×",
                measure.mib(memory),
            )
        )
    else:
        notes.append(
            f"Megatron-Core was NOT measured here: {missing or f'it took more than {PEER_SECONDS} s, or failed'}"
        )
    columns = (f"{world:,} ranks, rank {RANK}", "what", "time", "Megatron-Core ÷ this", "peak RSS")
    measure.show("Planning with all of Megatron-Core's modes", columns, rows, *notes)


def main() -> None:
    from bench_build_local import install  # imports torch, which the parts that are measured must not

    with tempfile.TemporaryDirectory() as folder:
        missing = install(folder)
        show(8_192, folder, missing, 5)
        show(65_536, folder, missing, 3)


if __name__ == "__main__":
    measure.run(main, {part.__name__: part for part in (ours, theirs)})
