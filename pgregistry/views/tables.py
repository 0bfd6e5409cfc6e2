"""Plans and plugins as tables: one line a mode, its name first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan

SHOWN: Final = 8  # ranks of one group, before they are cut short


def console() -> Console:
    """Where results go; lines are not folded where no person reads them."""
    width = None if sys.stdout.isatty() else 240
    return Console(width=width, highlight=False, soft_wrap=False)


def show(*parts: str | Table) -> None:
    """Print lines and tables on stdout, no line with spaces at its end."""
    for part in parts:
        if isinstance(part, str):
            print(part)
            continue
        out = console()
        with out.capture() as captured:
            out.print(part)
        for line in captured.get().splitlines():
            print(line.rstrip())


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without a frame, so that a line begins with what it is about."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


def show_plan(plan: Plan, *, mode: str | None = None, rank: int | None = None) -> None:
    """Print a plan: the world, the sizes with their origin, and a line for each mode."""
    axes = " × ".join(f"{name} {plan.sizes[name]}" for name in plan.order)
    head = [f"{_world(plan)}{f' = {axes}, outermost first' if axes else ''}"]
    head += [f"  {name} = {plan.sizes[name]} ({plan.origins[name]})" for name in sorted(plan.sizes)]
    shown = [plan[mode]] if mode is not None else list(plan.planned)
    tail = [f"\nfingerprint {plan.fingerprint}"]
    if rank is not None:
        rows = _for_rank(shown, rank)
    else:
        rows = table("mode", "over", "groups × ranks", f"rank {first_rank(plan)} is with", "plugin")
        for one in shown:
            group = one.group_of(first_rank(plan))
            rows.add_row(one.name, over(one), count(one), ranks(group), one.plugin.name)
        if mode is not None:
            listed = (f"{index}: {' '.join(map(str, group))}" for index, group in enumerate(shown[0].groups))
            tail = ["", *listed, *tail]
    show(*head, "", rows, *tail)


def show_plugins(rows: Sequence[dict[str, Any]]) -> None:
    """Print the installed plugins."""
    listed = table("plugin", "modes", "sizes", "distribution", "status", "reason")
    for row in rows:
        sizes = "—" if row["sizes"] is None else ", ".join(f"{name}={size}" for name, size in row["sizes"].items())
        listed.add_row(
            row["name"],
            "—" if row["modes"] is None else ", ".join(row["modes"]),
            sizes,
            f"{row['distribution']} {row['version']}",
            row["status"],
            (row["reason"] or "").splitlines()[0] if row["reason"] else "",
        )
    show(listed)


def _for_rank(modes: Sequence[PlannedMode], rank: int) -> Table:
    rows = table("mode", "over", "group", "rank in group", f"rank {rank} is with", right=("group", "rank in group"))
    for one in modes:
        group = one.group_of(rank)
        if group is None:
            rows.add_row(one.name, over(one), "—", "—", "nobody: in no group of this mode")
        else:
            rows.add_row(one.name, over(one), str(one.groups.index_of(rank)), str(group.index(rank)), ranks(group))
    return rows


def _world(plan: Plan) -> str:
    if plan.ranks is None:
        return f"{plan.world_size} ranks"
    return f"{len(plan.ranks)} of {plan.world_size} ranks ({ranks(plan.ranks)})"


def first_rank(plan: Plan) -> int:
    """The rank whose groups stand for all in a table."""
    return 0 if plan.ranks is None else min(plan.ranks)


def over(mode: PlannedMode) -> str:
    """What varies in a group.

    For a mode that lists its groups nothing can be said.
    """
    if mode.layout is None:
        return "listed"
    at = "" if mode.layout.at is None else f" at {', '.join(map(str, mode.layout.at))}"
    return (", ".join(mode.over) or "each rank alone") + at


def count(mode: PlannedMode) -> str:
    """How many groups of which size, as in `2 × 6 + 1 × 4`."""
    return " + ".join(f"{number} × {size}" for size, number in mode.groups.sizes().items()) or "none"


def ranks(group: Sequence[int] | None) -> str:
    """A group's ranks, the middle left out where there are many."""
    if group is None:
        return "nobody"
    if len(group) <= SHOWN:
        return " ".join(map(str, group))
    return " ".join(map(str, group[: SHOWN - 3])) + f" … {group[-1]}"
