"""The plan: which groups a run will have, as plain data."""

from __future__ import annotations

from pgregistry.errors import ConfigError
from pgregistry.planning.plans import difference, document, view
from pgregistry.planning.plans.contents import PlanContents
from pgregistry.planning.plans.drawing import rows
from pgregistry.values import shown


class Plan(PlanContents):
    """Every group of every mode of a run, without a process group and without torch.

    >>> import pgregistry
    >>> plan = pgregistry.plan(16, tensor=2, pipe=2)
    >>> plan["tensor"].groups
    <8 groups: (0, 1), (2, 3), (4, 5), (6, 7), …>
    >>> plan["data"].group_of(5)
    (1, 5, 9, 13)
    >>> plan.order, plan.sizes["data"], plan.origins["data"]
    (('data', 'pipe', 'tensor'), 4, 'what is left')

    A plan is a collection of the names of its modes, in the order in which they are built. `print(plan)` shows the
    table of the command line.

    Attributes:
        world_size: The world size that it is made for.
        order: The axes, outermost first.
        values: The size of every axis and named part, with its origin.
        ranks: The ranks that the plan lives on, in the order of `within`; None for all ranks.
        planned: The modes, in the order in which they are built.
        ranks_per_host: How many ranks each host has; None if that is not known, or differs.
        hosts: The ranks of each host, a sequence; None if they are not known.
        hosts_per_domain: How many hosts each domain has; None if that is not known.
        off: Why a plugin is off or failed, by its name; not part of the document.
        setting_values: The value of every setting that plugins declare, with its origin.
        fingerprint: Equal for equal groups that are declared alike, and equal settings. Nesting, origins of sizes
            and versions of plugins do not change it.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return str(view.PlanView(self))

    def __repr__(self) -> str:
        return f"<Plan of {view.world(self)}: {', '.join(self.modes)}>"

    def _repr_html_(self) -> str:
        """Return the rows of letters as a picture, and the table, which notebooks show."""
        return rows.still_picture(self) + view.PlanView(self).html()

    def picture(self) -> str:
        """Return a row for each mode, in which ranks with the same letter are one group and `.` is in none.

        >>> import pgregistry
        >>> print(pgregistry.plan(8, tensor=2, pipe=2, only=["data", "pipe", "tensor"]).picture())
        rank    0  1  2  3  4  5  6  7
        data    a  b  c  d  a  b  c  d
        pipe    a  b  a  b  c  d  c  d
        tensor  a  a  b  b  c  c  d  d

        Of a larger world it shows the first 256 ranks.
        """
        return rows.picture(self)

    def to_json(self) -> str:
        """Return the plan as one JSON document, of which `Plan.from_json` makes an equal plan."""
        return document.dumps(document.of_plan(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan that `to_json` wrote.

        Raises:
            ConfigError: if the text is not such a document, or was changed.
        """
        return document.to_plan(text, cls)

    def diff(self, other: Plan) -> tuple[str, ...]:
        """Return the differences from another plan, a sentence each; empty for the same process groups.

        >>> import pgregistry
        >>> for line in pgregistry.plan(8, tensor=2).diff(pgregistry.plan(8, tensor=4)):
        ...     print(line)
        size tensor: 2 (keyword) here, 4 (keyword) there
        size data: 4 (what is left) here, 2 (what is left) there
        size zero1: 4 (plugin default) here, 2 (plugin default) there
        group 0 of mode data: (0, 2, 4, 6) here, (0, 4) there
        group 0 of mode tensor: (0, 1) here, (0, 1, 2, 3) there
        group 0 of mode model: (0, 1) here, (0, 1, 2, 3) there
        group 0 of mode zero1: (0, 2, 4, 6) here, (0, 4) there

        Raises:
            ConfigError: if `other` is not a plan.
        """
        if not isinstance(other, Plan):
            raise ConfigError(f"diff() has other={shown(other)}; it must be a Plan.")
        return tuple(map(str, difference.differences(self, other)))
