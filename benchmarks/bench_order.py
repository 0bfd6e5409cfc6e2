"""Time `pgregistry order` for 6 axes at 16,384 ranks beside as many plans.

    python benchmarks/bench_order.py

The command line imports and reads plugins once more, which both rows leave out.
"""

from __future__ import annotations

from itertools import permutations
from math import prod

import measure

AXES = {"data": 4, "pipe": 4, "tensor": 8, "context": 4, "expert": 8, "replica": 4}
KNOWN = {"ranks_per_host": 8, "hosts_per_domain": 9}
ROUNDS = 5


def run() -> dict[str, float]:
    """Measure both in a fresh process."""
    from pgregistry import Axis, Mode, plan_modes
    from pgregistry.planning.orders import nesting_orders
    from pgregistry.planning.planner import Planner

    modes = [Mode(name, over=Axis(name, size)) for name, size in AXES.items()]
    modes += [Mode("model", over=("pipe", "tensor")), Mode("sums", over=("data", "replica"))]
    world_size = prod(AXES.values())
    planner = Planner.read(world_size, {"extra": modes, **KNOWN}, environ={}, installed=())

    def plans() -> None:
        for order in permutations(AXES):
            plan_modes(world_size, modes, order=order, **KNOWN)

    return {"orders": measure.timed(lambda: nesting_orders(planner, {"tensor": 10})), "plans": measure.timed(plans)}


def main() -> None:
    answers = [measure.child(__file__, "run") for _ in range(ROUNDS)]
    ours, plans = (measure.median(answer[part] for answer in answers) for part in ("orders", "plans"))
    rows = [
        ("every order, with its groups counted", measure.duration(ours), ""),
        ("a plan in every order, nothing counted", measure.duration(plans), f"{plans / ours:.1f} ×"),
    ]
    shape = " × ".join(f"{name} {size}" for name, size in AXES.items())
    columns = (f"{prod(AXES.values()):,} ranks = {shape}", "time", "÷ order")
    measure.show("The 720 nesting orders of 6 axes, 8 modes", columns, rows, "Aim: less than 1 s.")


if __name__ == "__main__":
    measure.run(main, {run.__name__: run})
