"""The table of a plan, on the command line and in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgregistry.planning.plans.contents import PlanContents, known_hosts
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.views.tables import table

#: A cell shows the ranks of groups up to this size, and the first and the last ones of larger groups.
SHOWN: Final = 8
#: The heads of the columns of `Plan.reach`.
REACH: Final = ("inside host", "inside domain", "across")


@dataclass(frozen=True, slots=True)
class PlanView:
    r"""The table of a plan, or of some modes of it.

    >>> import pgregistry
    >>> view = PlanView(pgregistry.plan(8, tensor=2, only=["data", "tensor"]), rank=5)
    >>> print(str(view).partition("\n\nfingerprint")[0])
    8 ranks = data 4 × tensor 2, outermost first
      data = 4 (what is left)
      tensor = 2 (keyword)
    <BLANKLINE>
    mode     over     group   rank in group   rank 5 is with
    data     data         1               2   1 3 5 7
    tensor   tensor       2               1   4 5

    Attributes:
        plan: The plan.
        mode: Show this mode only, with all its groups unless `rank` is given.
        rank: Show the groups of this rank.
        width: The width to fold cells to; 0 for no width.
    """

    plan: PlanContents
    mode: str | None = None
    rank: int | None = None
    width: int = 0

    def __str__(self) -> str:
        plan = self.plan
        warnings = [f"warning: {text}" for text in known_hosts(plan).uneven()]
        tail = [*warnings, *([""] if warnings else []), f"fingerprint {plan.fingerprint}"]
        if self.mode is not None and self.rank is None:
            groups = (f"{index}: {' '.join(map(str, group))}" for index, group in enumerate(plan[self.mode].groups))
            tail = [*groups, "", *tail]
        right = ("group", "rank in group", *REACH)
        shown = table(self.columns(), self.rows(), right=right, width=self.width)
        return "\n".join([world(plan), *(f"  {line}" for line in origins(plan, self.mode)), "", shown, "", *tail])

    def html(self) -> str:
        """Return the view as HTML."""
        from html import escape  # for a notebook alone

        return f"<p>{escape(world(self.plan))}</p>{self.html_tables()}<p>fingerprint {self.plan.fingerprint}</p>"

    def html_tables(self) -> str:
        """Return the table of modes as HTML, and that of sizes before it."""
        from pgregistry.views.html import html_table

        sizes = html_table(["size", ""], [line.split(" = ", 1) for line in origins(self.plan, self.mode)])
        return sizes + html_table(self.columns(), self.rows())

    def columns(self) -> list[str]:
        """Return the heads of the columns."""
        if self.rank is not None:
            return ["mode", "over", "group", "rank in group", f"rank {self.rank} is with"]
        return ["mode", "over", "groups × ranks", *self._known(), f"rank {self._first()} is with", "plugin"]

    def rows(self) -> list[list[str]]:
        """Return the cells of each mode."""
        shown = self.plan.planned if self.mode is None else [self.plan[self.mode]]
        if self.rank is not None:
            return [_row_of_rank(mode, self.rank) for mode in shown]
        first = self._first()
        return [
            [mode.name, over(mode), counts(mode), *reaches(self.plan, mode), group(mode, first), mode.plugin.name]
            for mode in shown
        ]

    def _known(self) -> tuple[str, ...]:
        """Return the heads of the columns of `reaches`."""
        if self.plan.hosts is None:
            return ()
        return REACH if self.plan.hosts_per_domain else (REACH[0], REACH[2])

    def _first(self) -> int:
        return 0 if self.plan.ranks is None else min(self.plan.ranks)


def world(plan: PlanContents) -> str:
    """Return the ranks of a plan, and how they factor into axes.

    >>> import pgregistry
    >>> world(pgregistry.plan(8, within=[4, 5, 6, 7], tensor=2, only=["data", "tensor"]))
    '4 of 8 ranks (4 5 6 7) = data 2 × tensor 2, outermost first'
    """
    ranks = f"{plan.world_size} rank{'s' * (plan.world_size != 1)}"
    if plan.ranks is not None:
        ranks = f"{len(plan.ranks)} of {ranks} ({shortened(plan.ranks, len(plan.ranks), plan.ranks[-1])})"
    axes = " × ".join(f"{name} {plan.sizes[name]}" for name in plan.order)
    return f"{ranks} = {axes}, outermost first" if axes else ranks


def origins(plan: PlanContents, mode: str | None = None) -> list[str]:
    """Return each size and setting with its origin, by name, then the settings of modes, or of one mode.

    >>> import pgregistry
    >>> origins(pgregistry.plan(8, tensor={"size": 2, "timeout": 60}, only=["tensor"]))
    ['tensor = 2 (keyword)', 'tensor.timeout = 60 (keyword)']
    """
    values = (*sorted(plan.values.items()), *sorted(plan.setting_values.items()))
    shown = plan.planned if mode is None else [plan[mode]]
    said = [(f"{one.name}.{key}", value, origin) for one in shown for key, value, origin in one.said()]
    lines = [*((name, one.value, one.origin) for name, one in values), *said]
    return [f"{name} = {_written(value)} ({origin})" for name, value, origin in lines]


def _written(value: object) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value == round(value, 3) else str(value)


def over(mode: PlannedMode) -> str:
    """Return what varies inside a group, or `listed` if a function lists the groups.

    >>> import pgregistry
    >>> loss = pgregistry.Mode("loss", over="data", where={"pipe": -1})
    >>> over(pgregistry.plan(8, pipe=2, extra=[loss])["loss"])
    'data where pipe=-1'
    """
    if mode.layout is None:
        return "listed"
    at = "" if mode.layout.at is None else f" at {', '.join(map(str, mode.layout.at))}"
    where = ", ".join(f"{name}={position}" for name, position in mode.where.items())
    return (", ".join(mode.over) or "each rank alone") + at + (f" where {where}" if where else "")


def counts(mode: PlannedMode) -> str:
    """Return how many groups there are of each size, as in `2 × 6 + 1 × 4`."""
    return " + ".join(f"{number} × {size}" for size, number in mode.groups.sizes().items()) or "none"


def reaches(plan: PlanContents, mode: PlannedMode) -> list[str]:
    """Return how many groups lie inside one host, inside one domain, and across, as far as that is known.

    >>> import pgregistry
    >>> plan = pgregistry.plan(8, tensor=2, ranks_per_host=4)
    >>> reaches(plan, plan["tensor"]), reaches(plan, plan["data"])
    (['4', '0'], ['0', '2'])
    """
    return [str(number) for number in plan.reach(mode.name) or () if number is not None]


def group(mode: PlannedMode, rank: int) -> str:
    """Return the ranks of the group that a rank is in, the middle left out if there are many.

    >>> import pgregistry
    >>> group(pgregistry.plan(1 << 40)["global"], 0)
    '0 1 2 3 4 … 1099511627775'
    """
    sample = mode.groups.sample(rank, SHOWN)
    return "nobody" if sample is None else shortened(sample.first, sample.size, sample.last)


def shortened(first: Sequence[int], size: int, last: int) -> str:
    """Return a text of `size` ranks of which the first ones and the last one are given.

    >>> shortened(range(8), 8, 7), shortened(range(8), 16, 15)
    ('0 1 2 3 4 5 6 7', '0 1 2 3 4 … 15')
    """
    if size <= SHOWN:
        return " ".join(map(str, first[:size]))
    return " ".join(map(str, first[: SHOWN - 3])) + f" … {last}"


def _row_of_rank(mode: PlannedMode, rank: int) -> list[str]:
    sample = mode.groups.sample(rank, 0)
    if sample is None:
        return [mode.name, over(mode), "—", "—", "nobody: in no group of this mode"]
    return [mode.name, over(mode), str(mode.groups.index_of(rank)), str(sample.position), group(mode, rank)]
