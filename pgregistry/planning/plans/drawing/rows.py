"""A plan as rows, one a mode, in which the ranks of a group have the same letter: as text, and as a still picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pgregistry.planning.plans.contents import PlanContents
from pgregistry.planning.plans.view import world
from pgregistry.views.letters import letters
from pgregistry.views.svg import svg_rows

#: At most so many ranks are shown.
PICTURED: Final = 256


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a plan.

    Attributes:
        ranks: The ranks that are shown, one a column.
        indices: The index of the group of each rank, by mode; None for a rank that is shown in none.
        note: Which ranks these are; empty if they are all.
    """

    ranks: Sequence[int]
    indices: dict[str, list[int | None]]
    note: str


def rows(plan: PlanContents, mode: str | None = None, rank: int | None = None) -> Rows:
    """Return the rows of a plan.

    Args:
        plan: The plan.
        mode: Show this mode only.
        rank: Show the groups of this rank only. Of a large world, the ranks near it are shown.
    """
    ranks = range(plan.world_size) if plan.ranks is None else plan.ranks
    start = ranks.index(rank) // PICTURED * PICTURED if rank is not None and rank in ranks else 0
    shown = ranks[start : start + PICTURED]
    indices = {}
    for one in plan.planned if mode is None else [plan[mode]]:
        own = None if rank is None else one.groups.index_of(rank)
        found = [one.groups.index_of(each) for each in shown]
        indices[one.name] = found if rank is None else [index if index == own else None for index in found]
    note = f"These are the first {PICTURED} of {len(ranks)} ranks." if len(shown) < len(ranks) else ""
    return Rows(shown, indices, note if start == 0 else f"These are {len(shown)} of {len(ranks)} ranks.")


def picture(
    plan: PlanContents,
    mode: str | None = None,
    rank: int | None = None,
    paint: Callable[[str, int], str] | None = None,
    width: int = 0,
) -> str:
    """Return the rows as text; the other arguments are those of `rows` and `letters`."""
    found = rows(plan, mode, rank)
    text = letters(["rank", *map(str, found.ranks)], found.indices, paint, width)
    return f"{text}\n{found.note}" if found.note else text


def still_picture(plan: PlanContents, mode: str | None = None, rank: int | None = None) -> str:
    """Return the rows as SVG, below the hosts and domains that are known; the arguments are those of `rows`.

    >>> import pgregistry
    >>> picture = still_picture(pgregistry.plan(8, tensor=2, ranks_per_host=4, only=["data", "tensor"]))
    >>> picture.count("<rect"), picture.count("host 1")
    (16, 1)
    """
    found = rows(plan, mode, rank)
    frames = []
    if plan.hosts is not None:
        shown, together = {*found.ranks}, plan.hosts_per_domain or 1
        host = {rank: index for index, ranks in enumerate(plan.hosts) for rank in ranks if rank in shown}
        frames.append([f"host {host[rank]}" for rank in found.ranks])
        if plan.hosts_per_domain:
            frames.insert(0, [f"domain {host[rank] // together}" for rank in found.ranks])
    return svg_rows(list(map(str, found.ranks)), found.indices, frames, world(plan), found.note)
