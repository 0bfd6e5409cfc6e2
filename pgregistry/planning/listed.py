"""Groups that a mode's function lists, checked in full."""

from __future__ import annotations

from pgregistry.errors import ConfigError, PluginError
from pgregistry.layouts.groups import Groups, ListedGroups
from pgregistry.planning.declarations import Declared
from pgregistry.planning.mesh import Mesh
from pgregistry.values import whole_number


def listed(one: Declared, mesh: Mesh) -> Groups:
    """What a `groups=` function returns, checked in full."""
    first, second = _call(one, mesh), _call(one, mesh)
    if first != second:
        raise PluginError(f"{one}: its groups function, asked twice, answered {_differ(first, second)}.")
    member: dict[int, tuple[int, ...]] = {}
    for given in first:
        group = _ranks(one, given)
        if not group:
            raise PluginError(f"{one} has an empty group; leave it out.")
        if not 0 <= min(group) <= max(group) < mesh.world_size:
            raise PluginError(f"{one} has group {group}, but the ranks are 0 to {mesh.world_size - 1}.")
        if list(group) != sorted(set(group)):
            raise PluginError(f"{one} has group {group}, whose ranks do not ascend; sort them, each once.")
        for rank in group:
            if rank in member:
                raise PluginError(f"{one} puts rank {rank} into two groups, {member[rank]} and {group}.")
            member[rank] = group
    return ListedGroups(dict.fromkeys(member.values()))


def _ranks(one: Declared, given: tuple[object, ...]) -> tuple[int, ...]:
    """A group with ranks of any whole kind, numpy's too, as ints."""
    ranks = []
    for rank in given:
        number = whole_number(rank)
        if number is None:
            raise PluginError(f"{one} has group {given} with {rank!r}, which is not a rank.")
        ranks.append(number)
    return tuple(ranks)


def _call(one: Declared, mesh: Mesh) -> list[tuple[int, ...]]:
    function = one.mode.groups
    try:
        return [tuple(group) for group in function(mesh)] if function else []
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{one}: its groups function raised {type(error).__name__}: {error}") from error


def _differ(first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> str:
    for one, other in zip(first, second, strict=False):
        if one != other:
            return f"{one}, then {other}"
    return f"with {len(first)} and then with {len(second)}"
