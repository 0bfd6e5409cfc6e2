"""A plan as a JSON document, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Literal, TypeVar

from pgregistry.errors import ConfigError
from pgregistry.layouts.factors import merge
from pgregistry.layouts.groups import ListedGroups, laid_out
from pgregistry.layouts.hosts import Hosts
from pgregistry.layouts.layout import Layout, Ragged
from pgregistry.layouts.placement import place
from pgregistry.planning.plans.contents import PlanContents
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.registry.plugin import Plugin
from pgregistry.settings.merge import ConfigValue
from pgregistry.values import shown, typed_like

P = TypeVar("P", bound=PlanContents)

SCHEMA: Final = 1
#: Up to this world size a document lists the groups of every mode.
LISTED: Final = 4096
#: The way out of a document that cannot be read.
AGAIN: Final = "Write it again: pgregistry plan --json, or plan.to_json()."
#: The keys that a mode has only if they are set.
ONLY_IF_SET: Final = ("dedicated", "backend", "timeout", "cpu", "options", "origins", "needs_hosts", "needs_domains")


def of_plan(
    plan: PlanContents,
    *,
    mode: str | None = None,
    rank: int | None = None,
    groups: Literal["small", "listed", "all"] = "small",
) -> dict[str, Any]:
    """Return the document of a plan.

    Args:
        plan: The plan.
        mode: Show this mode only.
        rank: Show the group of this rank instead of all groups.
        groups: The modes whose groups are listed: "listed" for those without a layout, which a
            function listed, "small" for all modes of a world of at most 4,096 ranks and those of
            "listed" in a larger one, "all" for all modes.
    """
    shown = [plan[mode]] if mode is not None else plan.planned
    document: dict[str, Any] = {"schema": SCHEMA, "world_size": plan.world_size, "order": list(plan.order)}
    if plan.ranks is not None:
        document["within"] = list(plan.ranks)
    if plan.ranks_per_host is not None:
        document["ranks_per_host"] = plan.ranks_per_host
    if isinstance(plan.hosts, tuple):  # else they are neighbours
        document["hosts"] = [list(host) for host in plan.hosts]
    if plan.hosts_per_domain is not None:
        document["hosts_per_domain"] = plan.hosts_per_domain
    document["sizes"] = {name: {"size": one.value, "from": one.origin} for name, one in sorted(plan.values.items())}
    if plan.setting_values:
        settings = sorted(plan.setting_values.items())
        document["settings"] = {name: {"value": one.value, "from": one.origin} for name, one in settings}
    document["fingerprint"] = plan.fingerprint
    every = groups == "all" or (groups == "small" and plan.world_size <= LISTED)
    modes = [_mode(plan, one, rank, listed=every or one.layout is None) for one in shown]
    if mode is None and rank is None:  # it is a whole plan, which `to_plan` reads
        document["checksum"] = _checksum({**document, "modes": modes})
    return {**document, "modes": modes}


def dumps(document: object) -> str:
    """Return JSON on one line, with keys in the order in which they were added."""
    return json.dumps(document, ensure_ascii=False)


def _checksum(document: Mapping[str, object]) -> str:
    """Return a digest of all that a document holds beside its checksum, whatever the order of its keys."""
    rest = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=16).hexdigest()


def _mode(plan: PlanContents, mode: PlannedMode, rank: int | None, *, listed: bool) -> dict[str, Any]:
    layout, factors = mode.layout, mode.factors()
    entry: dict[str, Any] = {
        "name": mode.name,
        "plugin": mode.plugin.name,
        "distribution": mode.plugin.distribution,
        "version": mode.plugin.version,
        "over": list(mode.over),
        "layout": None if factors is None else [list(factor) for factor in factors],
        "at": None if layout is None or layout.at is None else list(layout.at),
        "ragged": layout is not None and layout.ragged is not None,
        "group_count": len(mode.groups),
        "group_sizes": {str(size): count for size, count in mode.groups.sizes().items()},
    }
    if reach := plan.reach(mode.name):
        entry["reach"] = reach._asdict()
    if rank is not None:
        group = mode.group_of(rank)
        entry["group"] = None if group is None else list(group)
        if group is not None:
            entry |= {"rank_in_group": group.index(rank), "group_index": mode.groups.index_of(rank)}
    elif listed:
        entry["groups"] = [list(group) for group in mode.groups]
    if layout is not None and layout.ragged is not None:
        entry["ragged_run"] = asdict(layout.ragged)
    if layout is not None and layout.where:
        entry["where"] = [list(one) for one in layout.where]
    if mode.where:
        entry["where_names"] = dict(mode.where)
    for key in ONLY_IF_SET:
        if (value := getattr(mode, key)) or (value is False and key == "cpu"):
            entry[key] = value
    if mode.said_options is not None:  # what plugins add depends on the backend
        entry |= {"options": mode.said_options, "built_options": mode.options}
    return entry


def to_plan(text: str, kind: type[P]) -> P:
    """Return the plan of a complete document.

    Raises:
        ConfigError: if it is not such a document, or any part of it was changed since it was written.
    """
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ConfigError(f"This plan has schema {document['schema']}; this version reads schema {SCHEMA}.")
        _check_unchanged(document)
        world_size, within = document["world_size"], document.get("within")
        ranks = None if within is None else tuple(within)
        sizes = {name: ConfigValue(one["size"], one["from"]) for name, one in document["sizes"].items()}
        planned = tuple(_to_mode(entry, world_size, ranks) for entry in document["modes"])
        hosts, order = _to_hosts(document), tuple(document["order"])
        settings = {name: _setting(**one) for name, one in document.get("settings", {}).items()}
        plan = kind(world_size, order, sizes, ranks, planned, hosts.each, hosts.ranks, hosts.hosts_per_domain, settings)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ConfigError(f"This is not the JSON of a plan: {type(error).__name__}: {error}.") from error
    if plan.fingerprint != (written := document["fingerprint"]):
        text = f"This plan has fingerprint {shown(written)}, but here its groups have {plan.fingerprint}"
        raise ConfigError(f"{text}: another version of pgregistry wrote it. {AGAIN}")
    return plan


def _check_unchanged(document: dict[str, Any]) -> None:
    """Raise ConfigError if a document is not a whole plan, or any part of it was changed."""
    if (written := document.get("checksum")) is None:
        rule = "A document with --mode or --rank is not a whole plan"
        raise ConfigError(f"This plan must have the checksum with which it was written. {rule}. {AGAIN}")
    if written != (found := _checksum(document)):
        text = f"it has checksum {shown(written)}, but its contents have {found!r}"
        raise ConfigError(f"This plan was changed after it was written: {text}. {AGAIN}")


def _to_hosts(document: dict[str, Any]) -> Hosts:
    listed, *numbers = (document.get(key) for key in ("hosts", "ranks_per_host", "hosts_per_domain"))
    hosts = None if listed is None else tuple(map(tuple, listed))
    return Hosts(document["world_size"], numbers[0], hosts, numbers[1])


def _setting(**one: Any) -> ConfigValue[Any]:
    value, origin = one["value"], one["from"]
    if typed_like(value, value) is None or not isinstance(origin, str):
        raise TypeError(f"{shown(value)} is not a setting")
    return ConfigValue(value, origin)


def _to_mode(entry: dict[str, Any], world_size: int, ranks: tuple[int, ...] | None) -> PlannedMode:
    layout = None if entry["layout"] is None else _to_layout(entry, world_size if ranks is None else len(ranks))
    groups = ListedGroups(entry["groups"]) if layout is None else place(laid_out(layout), ranks)
    plugin = Plugin(entry["plugin"], entry["distribution"], entry["version"])
    settings: dict[str, Any] = {key: entry[key] for key in ONLY_IF_SET if key in entry}
    if "built_options" in entry:
        settings |= {"options": entry["built_options"], "said_options": entry["options"]}
    return PlannedMode(
        entry["name"], plugin, tuple(entry["over"]), layout, groups, **settings, where=entry.get("where_names", {})
    )


def _to_layout(entry: dict[str, Any], positions: int) -> Layout:
    factors = [tuple(factor) for factor in entry["layout"]]
    ragged = Ragged(**entry["ragged_run"]) if entry["ragged"] else None
    if ragged is not None:
        factors.remove(ragged.free(0))
    at = None if entry["at"] is None else tuple(entry["at"])
    where = tuple((size, stride, position) for size, stride, position in entry.get("where", ()))
    return Layout(positions, merge(factors), ragged, at, where)
