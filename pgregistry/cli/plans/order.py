"""`pgregistry order`: which nesting order keeps which groups inside hosts and domains."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import factorial
from typing import Any, Final

import click

from pgregistry.cli.options import OF_PLAN, PATH, examples, plan_options
from pgregistry.cli.plans.plan import planner_of
from pgregistry.cli.streams import printing_to_stderr
from pgregistry.cli.words import SizesCommand
from pgregistry.errors import ConfigError
from pgregistry.layouts.placement import Reach
from pgregistry.planning.orders import MOST_AXES, NestingOrder, mode_weights, nesting_orders
from pgregistry.planning.planner import Planner
from pgregistry.settings.launchers.launcher import LAUNCHED
from pgregistry.settings.ranks import as_text
from pgregistry.settings.topology import Topology, open_topology
from pgregistry.settings.tracing import tracing
from pgregistry.values import shown
from pgregistry.views.tables import table, terminal_width

#: The table shows the best orders, at most so many.
LISTED: Final = 24
#: Axes whose orders take seconds to compare: 5,040.
SLOW: Final = 7


@click.command(
    "order",
    cls=SizesCommand,
    epilog=examples(
        "pgregistry order 64 tensor=4 pipe=2 --ranks-per-host 8",
        "pgregistry order 64 tensor=4 pipe=2 --ranks-per-host 8 --hosts-per-domain 4 --weight tensor=8",
    ),
)
@click.argument("words", nargs=-1, metavar="[WORLD_SIZE] [NAME=SIZE]...")
@plan_options(*OF_PLAN)
@click.option(
    "--domains",
    type=PATH,
    metavar="FILE",
    help="Read `host domain` lines, or the output of scontrol show topology; - for stdin.",
)
@click.option("--weight", "weights", metavar="M=N", multiple=True, help="Weight of a mode; the others then weigh 1.")
@click.option("--json", "as_json", is_flag=True, help="Print every order as one JSON document.")
def order_command(
    words: tuple[str, ...],
    domains: str | None,
    weights: tuple[str, ...],
    as_json: bool,
    trace: bool | None,
    **options: Any,
) -> None:
    """Show which nesting order keeps which groups inside hosts.

    The best order is first. A group inside one host costs 0, one that leaves its host 1, and one that leaves its domain
    2. The cost of a mode is the mean cost of its groups times its weight. Modes with equal groups count once, and modes
    over the whole world not at all, since no order moves them.

    Without --weight, an axis weighs 10 times as much for each axis that plugins nest it inside of: data 1, pipe 10,
    tensor 100. A mode over several axes weighs as much as the lightest of them.
    """
    weighted = _weights(weights)
    with tracing(trace), printing_to_stderr():
        if domains is None:
            planner, within = planner_of(words, options), None
        else:
            planner, within = _on_topology(words, options, open_topology(domains))
        _announce(planner)
        found = nesting_orders(planner, weighted)
        weighed = mode_weights(planner, weighted)
    hosts = planner.world().hosts
    if as_json:
        document = {
            "schema": 1,
            "world_size": hosts.world_size,
            "ranks_per_host": hosts.each,
            "hosts_per_domain": hosts.hosts_per_domain,
            "within": within,
            "weights": weighed,
            "orders": [_as_json(one) for one in found],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(_text(found, weighed, by_default=not weighted))
        for text in hosts.uneven():
            click.echo(f"warning: {text}")
        if within is not None:
            click.echo(f"The hosts of a domain are not neighbours. To bring them together: {_placed(planner, found)}")
    if found[0].refusal:
        raise click.exceptions.Exit(1)


def _announce(planner: Planner) -> None:
    """Write a line before so many orders are compared that it takes more than a moment."""
    axes = [name for name, size in planner.world().axes.items() if size.value > 1]
    if SLOW <= len(axes) <= MOST_AXES:
        click.echo(f"Comparing {factorial(len(axes)):,} orders of {', '.join(axes)} …", err=True)


def _weights(words: Sequence[str]) -> dict[str, float]:
    """Return the weights of modes in words such as `tensor=10`."""
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            weight = float(number)
        except ValueError:
            raise click.BadParameter(f"{shown(word)} must be a mode and a number, as in tensor=10.") from None
        if name in found:
            given = f"{found[name]:g} and {weight:g}"
            raise ConfigError(f"The weight of {shown(name)} is given twice (command line): {given}. Remove one.")
        found[name] = weight
    return found


def _on_topology(words: Sequence[str], options: dict[str, Any], topology: Topology) -> tuple[Planner, list[int] | None]:
    """Return the planner of a run on these hosts, and the order of ranks that brings domains together, if needed."""
    if options.get("hosts_per_domain"):
        raise ConfigError(f"{topology.origin} and --hosts-per-domain must not both be given. Remove one.")
    planner = planner_of(words, options)
    world_size, number, given = planner.world_size, len(topology.hosts), planner.settings.ranks_per_host
    if (listed := planner.settings.hosts) and listed.origin not in LAUNCHED:
        raise ConfigError(f"{topology.origin} and hosts ({listed.origin}) must not both be given. Remove one.")
    each = given.value if given else world_size // number
    if each * number != world_size:
        ranks = f"{world_size} ranks" + (f", {each} on each ({given.origin})" if given else "")
        names = f"{', '.join(topology.hosts[:3])}{', …' * (number > 3)}"
        raise ConfigError(f"{topology.origin} must name every host of the {ranks}, but it names {number}: {names}.")
    known = {**options, "ranks_per_host": str(each), "hosts_per_domain": str(topology.hosts_per_domain)}
    order = topology.domain_by_domain
    if order == sorted(order):
        return planner_of(words, known), None
    # Hosts are listed domain by domain, so that hosts of one domain are neighbours.
    hosts = [range(host * each, (host + 1) * each) for host in order]
    known["hosts"] = ";".join(map(as_text, hosts))
    if options.get("within"):
        return planner_of(words, known), None
    within = [rank for host in hosts for rank in host]
    return planner_of(words, {**known, "within": as_text(within)}), within


def _as_json(one: NestingOrder) -> dict[str, object]:
    document: dict[str, object] = {"order": one.axes, "current": one.current}
    if one.refusal:
        return {**document, "refused": one.refusal}
    modes = {name: {"groups": sum(filter(None, counts)), **counts._asdict()} for name, counts in one.reach.items()}
    return {**document, "cost": one.cost, "modes": modes}


def _placed(planner: Planner, found: Sequence[NestingOrder]) -> str:
    """Return the options that bring the hosts of each domain together; modes that use DOMAIN need all of them."""
    world = planner.world()
    within, hosts, number = world.hosts.within or (), world.hosts.hosts or (), world.hosts.hosts_per_domain
    options = f"--within {as_text(within)}"
    if any(mode.needs_domains for mode in planner.modes_in(found[0].axes, world)):
        options += f" --hosts '{';'.join(map(as_text, hosts))}' --hosts-per-domain {number}"
    return options


def _text(found: Sequence[NestingOrder], weights: Mapping[str, float], *, by_default: bool) -> str:
    """Return the table of orders, and what to paste for the best."""
    good = [one for one in found if not one.refusal]
    if not good:
        return f"No nesting order fits. {found[0].refusal}"
    modes = [name for name in good[0].reach if name in weights and any(_leaves(one.reach[name]) for one in good)]
    rows = [
        [
            "*" if one.current else "",
            f"{one.cost:.10g}",
            ",".join(one.axes),
            *(_cell(one.reach[name]) for name in modes),
        ]
        for one in good[:LISTED]
    ]
    levels = (
        "inside host / inside domain / across" if good[0].reach and _knows_domains(good) else "inside host / across"
    )
    lines = [
        table(["", "cost", "order, outermost first", *modes], rows, right=("cost", *modes), width=terminal_width()),
        "",
        f"Groups {levels}, for each mode that leaves a host in some order. * is the order at hand.",
    ]
    if modes:
        shown_weights = ", ".join(f"{name} {weights[name]:g}" for name in modes)
        way_out = ", by how deep plugins nest their axes; --weight M=N gives others" if by_default else ""
        lines.append(f"Weights: {shown_weights}{way_out}.")
    if len(good) > LISTED:
        lines.append(f"These are the best {LISTED} of {len(good)} orders; --json has all.")
    if refused := len(found) - len(good):
        lines.append(f"{refused} order{'s' * (refused > 1)} cannot be planned, as: {_refused(found)}")
    if good[0].axes:
        lines += ["", f"The best, to paste: --order {','.join(good[0].axes)}"]
    return "\n".join(lines)


def _refused(found: Iterable[NestingOrder]) -> str:
    first = next(one for one in found if one.refusal)
    return f"{','.join(first.axes)}: {first.refusal.splitlines()[0]}"


def _knows_domains(found: Sequence[NestingOrder]) -> bool:
    return any(one.domain is not None for one in found[0].reach.values())


def _leaves(counts: Reach) -> bool:
    return bool(counts.domain or counts.across)


def _cell(counts: Reach) -> str:
    return "/".join(str(number) for number in counts if number is not None)
