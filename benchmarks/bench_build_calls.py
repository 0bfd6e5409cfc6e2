"""Count the store calls of the busiest rank, from an existing world to process groups."""

from __future__ import annotations

from functools import partial
from typing import Any

import measure
import worlds

WORLDS = (4, 16, 32, 64)
ROUNDS = 3  # of ours: a rank that waits for others may ask more than once
MORE = 4


def more() -> list[Any]:
    """Declare modes of a third party: copies and parts of what is there, which share with no other mode."""
    from pgregistry import Mode

    return [
        Mode("embedding", over="pipe", at=(0, -1), dedicated=True),
        Mode("copies", over="data", dedicated=True),
        Mode("everyone", over=("data", "pipe", "tensor"), dedicated=True),
        Mode("halves", groups=halves, dedicated=True),
    ]


def halves(mesh: Any) -> list[range]:
    middle = mesh.world_size // 2
    return [range(middle), range(middle, mesh.world_size)]


def count_ours(world: int, modes: tuple[str, ...] | None, extra: bool) -> dict[str, int]:
    store = worlds.watched_world()
    phases = worlds.Phases.watch(store)
    store.reset()
    groups = worlds.ours(world, modes, more() if extra else ())
    calls = store.calls
    worlds.prove(groups)
    agreed, built = phases.calls
    answer = {"agreement": agreed, "creation": built - agreed, "confirmation": calls - built}
    return {**answer, "all": calls, "groups": len(set(map(id, groups)))}


def count_peer(world: int, way: str) -> dict[str, int]:
    store = worlds.watched_world()
    store.reset()
    groups = getattr(worlds, way)(world)
    calls = store.calls
    worlds.prove(groups)
    return {"all": calls, "groups": len(groups)}


def busiest(world: int, job: Any, environ: Any, rounds: int) -> dict[str, int]:
    answers = [one for _ in range(rounds) for one in worlds.run_ranks(world, job, world, environ=environ).answers]
    return {key: max(answer[key] for answer in answers) for key in answers[0]}


def main() -> None:
    six, eight = worlds.SIX, None
    ways = {
        "pgregistry, 6 modes": (partial(count_ours, modes=six, extra=False), {}),
        "pgregistry, 8 modes (bundled)": (partial(count_ours, modes=eight, extra=False), {}),
        f"pgregistry, {8 + MORE} modes": (partial(count_ours, modes=eight, extra=True), {}),
        "loop with new_group, 6 modes": (partial(count_peer, way="loop"), {}),
        "  + TORCH_DIST_INIT_BARRIER=1": (partial(count_peer, way="loop"), worlds.BARRIER),
        "init_device_mesh, 3 dimensions": (partial(count_peer, way="mesh"), {}),
        "init_device_mesh, 5 families": (partial(count_peer, way="mesh_of_five"), {}),
    }
    counts = {
        name: {world: busiest(world, job, environ, ROUNDS if "pgregistry" in name else 1) for world in WORLDS}
        for name, (job, environ) in ways.items()
    }
    peer = counts["pgregistry, 6 modes"]
    rows = []
    for name, by_world in counts.items():
        cells = [f"{one['all']} ({one['all'] / peer[world]['all']:.1f} ×)" for world, one in by_world.items()]
        rows.append((name, *cells, f"{by_world[WORLDS[-1]]['groups']}"))
    columns = ("store calls of the busiest rank", *(f"{world} ranks" for world in WORLDS), "groups of a rank")
    measure.show(
        "Store calls from an existing world to process groups, and ÷ pgregistry with 6 modes",
        columns,
        rows,
        f"Aim: flat in the number of ranks and of modes. Counts, not medians: ours are the most of {ROUNDS} runs.",
    )
    rows = []
    for name, by_world in counts.items():
        for phase in ("agreement", "creation", "confirmation"):
            if all(phase in one for one in by_world.values()):
                rows.append((f"{name}: {phase}", *(str(one[phase]) for one in by_world.values())))
    columns = ("of which, at most", *(f"{world} ranks" for world in WORLDS))
    measure.show(
        "Store calls of pgregistry by phase, busiest rank of each phase",
        columns,
        rows,
        "Aims: at most 5 for agreement, 2 for the confirmation, and 2 for the creation of all groups together.",
    )


if __name__ == "__main__":
    main()
