"""The costs of a plan for one rank in `init`: process groups, store calls and connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgregistry.building.specs import Defaults, default_group_spec, has_gloo, specs_of_rank
from pgregistry.planning.plans.plan import Plan

#: Store calls to agree, and to confirm the end, whatever the number of ranks and modes. A test counts them.
AGREE: Final = 3
CONFIRM: Final = 2
#: One more to agree if ranks show each other their hosts.
HOSTS: Final = 1
#: What the words of the costs mean.
EXPLAINED: Final = """\
  process group: equal groups share one, and torch has that of all ranks
  store call: one round trip to the rendezvous store, which rank 0 or the launcher hosts; one more on several hosts
  gloo connection: a connection to another rank, made when a gloo process group is built"""


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of one rank.

    Attributes:
        rank: The rank.
        groups: How many groups it is in.
        process_groups: How many process groups `init` builds for them. Groups with equal ranks and settings share one.
        store_calls: How many calls of the store it makes on one host, if it waits for no rank for a second. It makes
            one more on several hosts.
        connections: How many connections its gloo process groups have. Other backends connect when they are used.
    """

    rank: int
    groups: int
    process_groups: int
    store_calls: int
    connections: int

    def __str__(self) -> str:
        groups = f"{self.groups} group{'s' * (self.groups != 1)}, {self.process_groups} process groups to build"
        counted = f"{groups}, {self.store_calls} store calls, {self.connections} gloo connections"
        return f"init costs rank {self.rank}: {counted}\n{EXPLAINED}"


def costs(plan: Plan, rank: int, defaults: Defaults) -> Costs:
    """Return the costs of one rank.

    >>> import pgregistry
    >>> costs(pgregistry.plan(8, tensor=2, only=["data", "global", "tensor", "zero1"]), 0, Defaults("gloo"))
    Costs(rank=0, groups=4, process_groups=2, store_calls=7, connections=4)

    Args:
        plan: The plan.
        rank: The rank.
        defaults: The run's settings for modes that have none.
    """
    specs = specs_of_rank(plan, rank, defaults)
    built = {spec for each in specs.values() for spec in each} - {default_group_spec(plan, defaults)}
    gloo = [spec for spec in built if has_gloo(spec.backend)]
    together = [spec for spec in gloo if spec.backend == "gloo"]
    # All addresses are written in one call, and those of others are read in one.
    agree = AGREE + HOSTS * any(mode.needs_hosts for mode in plan.planned)
    calls = agree + CONFIRM + bool(together) + any(len(spec.ranks) > 1 for spec in together)
    return Costs(rank, len(specs), len(built), calls, sum(len(spec.ranks) - 1 for spec in gloo))
