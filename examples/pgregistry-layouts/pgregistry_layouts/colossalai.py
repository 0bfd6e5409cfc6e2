"""The groups of ColossalAI's ProcessGroupMesh, rank for rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, Final

from pgregistry import WORLD, ConfigError, Mode, Plan, Split, hookimpl, plan_modes

#: As many axes as the largest mesh of ColossalAI's plugins has.
AXES: Final = 5


def modes(prefix: str = "", axes: int = AXES) -> Iterator[Mode]:
    """Yield one mode an axis, `axis=0` the outermost; `prefix` comes before every name of a mode and of a size."""
    outside: Any = WORLD
    for axis in reversed(range(axes)):
        split = Split(outside, inner=f"{prefix}size_{axis}")
        yield Mode(f"{prefix}axis={axis}", over=split)
        outside = split.outer


def query(axis: int | Sequence[int], at: Sequence[int] | None = None, said: str = "", prefix: str = "") -> Mode:
    """Return the mode of a group along one axis or several, as in `extra=[query([0, 3], prefix="colossalai_")]`.

    Args:
        axis: The axis, or the axes, that vary in a group.
        at: The positions in a group to keep, all by default.
        said: The end of the name, after the axis.
        prefix: The prefix of `modes`.
    """
    over = [axis] if isinstance(axis, int) else axis
    return Mode(f"{prefix}axis={axis}{said}", over=[f"{prefix}size_{one}" for one in over], at=at)


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, colossalai_size_0=2 colossalai_size_1=4: axis=0 is 0 4 | 1 5 | 2 6 | 3 7."""
    return modes("colossalai_")


def plan(world_size: int, *, size: Sequence[int], queries: Sequence[Mapping[str, Any]] = (), **others: Any) -> Plan:
    """Plan the groups that a `ProcessGroupMesh(*size)` returns for queries, under their names.

    >>> mesh = plan(8, size=[2, 4], queries=[{"axis": 0}, {"axis": 1, "indices": [0, 3]}])
    >>> mesh.modes, mesh["axis=1 indices=[0, 3]"].groups
    (('axis=0', 'axis=1 indices=[0, 3]'), <2 groups: (0, 3), (4, 7)>)

    Args:
        world_size: How many ranks there are.
        size: The sizes of the axes, outermost first; their product is the world size.
        queries: Mappings with `axis`, a number or a list, and maybe `indices`, those to keep along
            it (a list for each axis of a list). Without queries, there is one for each axis.
        **others: `within=` as in `pgregistry.plan`.

    Raises:
        ConfigError: if a size or a query does not fit.
    """
    if not _numbers(size, 1):
        raise ConfigError(f"size = {size!r} is not a list of whole numbers from 1, outermost first.")
    sizes: dict[str, Any] = {f"size_{axis}": number for axis, number in enumerate(size)}
    asked = [_asked(one, size) for one in queries or [{"axis": axis} for axis in range(len(size))]]
    wanted = {mode.name: mode for mode in asked}  # the same query twice is one mode
    every = wanted | {mode.name: mode for mode in modes(axes=len(size))}  # these declare the sizes
    made = plan_modes(world_size, every.values(), keep=wanted, **sizes, **others)
    ranks = len(made.ranks or range(world_size))
    if prod(size) != ranks:
        raise ConfigError(f"size = {list(size)}: their product {prod(size)} is not the world size {ranks}.")
    return made


def _asked(one: Mapping[str, Any], size: Sequence[int]) -> Mode:
    """Return the mode of a query; raise ConfigError if it has none."""
    what = f"queries: {one!r}"
    if not isinstance(one, Mapping) or not {"axis"} <= one.keys() <= {"axis", "indices"}:
        raise ConfigError(f"{what} is not a mapping with 'axis' and perhaps 'indices'.")
    axis, indices = one["axis"], one.get("indices")
    axes = [axis] if isinstance(axis, int) else axis
    if not _numbers(axes, 0, len(size)) or len(set(axes)) < len(axes):
        raise ConfigError(f"{what}: axis is not a number from 0 to {len(size) - 1}, or a list of different ones.")
    if indices is None:
        return query(axis)
    along = [indices] if isinstance(axis, int) else indices
    kept = dict(zip(axes, along if isinstance(along, Sequence) else (), strict=False))
    if len(kept) < len(axes) or not all(_numbers(kept[part], 0, size[part]) for part in axes):
        raise ConfigError(f"{what}: indices are not positions along each axis, of {[size[part] for part in axes]}.")
    at = [0]
    for part in sorted(axes):
        at = [position * size[part] + inside for position, inside in product(at, kept[part])]
    return query(axis, at, f" indices={indices}")


def _numbers(values: Any, start: int, stop: int | None = None) -> bool:
    """Return whether these are whole numbers, one or more, from `start` and below `stop`."""
    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(one, int) and not isinstance(one, bool) for one in values)
        and all(start <= one and (stop is None or one < stop) for one in values)
    )
