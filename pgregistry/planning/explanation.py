"""Log lines that explain in which order a plan has its modes and axes, and how far its groups reach."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from pgregistry.layouts.hosts import Hosts
from pgregistry.layouts.placement import reach as reach_of
from pgregistry.planning.declarations import Declarations
from pgregistry.planning.plans.contents import PlanContents, known_hosts
from pgregistry.settings.merge import Order, Sizes
from pgregistry.settings.tracing import describe_result, log
from pgregistry.vocabulary import Mode

_about_runs = logging.getLogger("pgregistry")


def log_extra(modes: Iterable[Mode]) -> None:
    """Log the modes that the user gives as objects."""
    if log.isEnabledFor(logging.DEBUG) and modes:
        log.debug("%s", "\n  ".join(("Modes given as extra=", *map(describe_result, modes))))


def log_modes(declarations: Declarations) -> None:
    """Log in which order modes are built, and why."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    lines = ["Modes in build order: each after those it needs, otherwise by name:"]
    for one in declarations.modes:
        uses = declarations.uses[one.mode.name]
        why = [f"after {other}, which declares {' and '.join(sorted(uses[other]))}" for other in sorted(uses)]
        why += [f"after {other}, named in its after=" for other in one.mode.after if other in declarations.uses]
        lines.append(f"{one.mode.name} ({'; '.join(why)})" if why else one.mode.name)
    log.debug("%s", "\n  ".join(lines))


def log_axes(order: Iterable[str], sizes: Sizes, declarations: Declarations, given: Order) -> None:
    """Log in which order axes nest, and where that comes from."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    by = f"order = {','.join(given.value)} ({given.origin})" if given else "inside and outside of the axes"
    lines = [f"Axes, outermost first, from {by}. Those of size 1 move no rank:"]
    for name in order:
        axis = declarations.axes[name]
        nests = [f"; {key} {', '.join(value)}" for key in ("inside", "outside") if (value := getattr(axis, key))]
        lines.append(f"{name} = {sizes[name].value} ({sizes[name].origin}){''.join(nests)}")
    log.debug("%s", "\n  ".join(lines))


def log_hosts(plan: PlanContents, domains: Callable[[], Sequence[Sequence[int]]] = tuple) -> None:
    """Log how many groups of each mode cross hosts, and how many of these cross domains too, if that is known.

    Warn if ranks do not fill the last host, or hosts the last domain.

    Args:
        plan: The plan.
        domains: Returns the ranks of each domain, as far as ranks know it. Called if this is logged at all.
    """
    for text in known_hosts(plan).uneven():
        _about_runs.warning("pgregistry: %s", text)
    if plan.hosts is None or not _about_runs.isEnabledFor(logging.INFO):
        return
    known = [(mode, reach) for mode in plan.planned if (reach := plan.reach(mode.name))]
    counts = ", ".join(f"{mode.name} {len(mode.groups) - reach.host} of {len(mode.groups)}" for mode, reach in known)
    across = [(mode.name, reach.across) for mode, reach in known if reach.domain is not None]
    if not across and (found := domains()):
        units = _units(plan, found)
        across = [(mode.name, one.across) for mode in plan.planned if (one := reach_of(mode.groups, units))]
    _about_runs.info(
        *("pgregistry: groups across hosts: %s%s", counts),
        f"; across domains: {', '.join(f'{name} {number}' for name, number in across)}" if across else "",
    )


def _units(plan: PlanContents, domains: Sequence[Sequence[int]]) -> Hosts:
    """Return domains as the hosts of a plan; ranks that do not know theirs are one of their own."""
    known = {rank for ranks in domains for rank in ranks}
    rest = tuple(rank for rank in range(plan.world_size) if rank not in known)
    return Hosts(plan.world_size, hosts=(*map(tuple, domains), *([rest] if rest else [])), within=plan.ranks)
