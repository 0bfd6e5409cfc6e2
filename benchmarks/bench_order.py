"""Time `pgregistry order` for 6 axes at 16,384 ranks beside as many plans, and the columns of a plan of a million.

    python benchmarks/bench_order.py

The command line imports and reads plugins once more, which both rows leave out.
"""

from __future__ import annotations

from functools import partial
from itertools import permutations
from math import prod

import measure

AXES = {"data": 4, "pipe": 4, "tensor": 8, "context": 4, "expert": 8, "replica": 4}
KNOWN = {"ranks_per_host": 8, "hosts_per_domain": 9}
ROUNDS = 5
MILLION = 1 << 20


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


def columns() -> dict[str, float]:
    """Measure a plan of 1,048,576 ranks, and its columns of hosts and domains, in a fresh process."""
    import pgregistry
    from pgregistry.planning.plans.view import PlanView

    sizes = {"tensor": 8, "pipe": 16, "zero1": 128}
    known = {"ranks_per_host": 8, "hosts_per_domain": 9}
    found = {}
    for name, hosts in (("without", {}), ("with", known), ("odd", {"ranks_per_host": 12, "hosts_per_domain": 7})):
        plan = pgregistry.plan(MILLION, **sizes, **hosts)
        found[f"plan {name}"] = measure.repeated(partial(pgregistry.plan, MILLION, **sizes, **hosts))
        found[f"table {name}"] = measure.repeated(lambda plan=plan: str(PlanView(plan)))
    return found


def main() -> None:
    answers = [measure.child(__file__, "run") for _ in range(ROUNDS)]
    ours, plans = (measure.median(answer[part] for answer in answers) for part in ("orders", "plans"))
    rows = [
        ("every order, with its groups counted", measure.duration(ours), ""),
        ("a plan in every order, nothing counted", measure.duration(plans), f"{plans / ours:.1f} ×"),
    ]
    shape = " × ".join(f"{name} {size}" for name, size in AXES.items())
    heads = (f"{prod(AXES.values()):,} ranks = {shape}", "time", "÷ order")
    measure.show("The 720 nesting orders of 6 axes, 8 modes", heads, rows, "Aim: less than 1 s.")
    show_columns()


def show_columns() -> None:
    answers = [measure.child(__file__, "columns") for _ in range(ROUNDS)]
    found = {part: measure.median(answer[part] for answer in answers) for part in answers[0]}
    plan = found["plan without"]
    rows = [
        (words, measure.duration(time), f"{time / plan:.2f} ×")
        for words, time in {
            "plan, hosts not known": plan,
            "its table, without these columns": found["table without"],
            "its table, with them: hosts of 8 ranks, domains of 9 hosts": found["table with"],
            "its table, with them: hosts of 12 ranks, domains of 7 hosts": found["table odd"],
        }.items()
    ]
    measure.show(f"A plan of {MILLION:,} ranks", ("", "time", "÷ plan"), rows, "Aim: the columns take at most 2 ×.")


if __name__ == "__main__":
    measure.run(main, {run.__name__: run, columns.__name__: columns})
