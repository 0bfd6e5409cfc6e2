"""The process groups of a plan as a torch DeviceMesh: always a slice of one root mesh over all axes.

A DeviceMesh over some axes alone gives wrong sums when it is flattened, and `from_group` does not
check the mesh that it is given. The root therefore covers every rank, and is checked here first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError, ConfigError
from pgregistry.layouts.groups import LayoutGroups
from pgregistry.layouts.layout import Factors, Layout
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.handle import GroupHandle

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def root_modes(plan: Plan, names: Sequence[str]) -> tuple[str, ...]:
    """Return the modes that are the dimensions of the root mesh for some modes, outermost first.

    Dimensions are sorted by stride, the largest first. An axis of size 1 is a dimension too, in its
    place in the nesting order, so that slices of other modes have the same root.

    >>> import pgregistry
    >>> root_modes(pgregistry.plan(16, tensor=2, pipe=2), ["tensor"])
    ('data', 'pipe', 'tensor')
    >>> root_modes(pgregistry.plan(16, tensor=2, pipe=2), ["model"])
    ('data', 'model')

    Raises:
        ConfigError: naming the mode that spans no mesh, two modes that share an axis, or the modes for
            which the rest of the mesh has no modes.
    """
    chosen = {name: _factors(plan[name]) for name in dict.fromkeys(names)}
    for name, factors in chosen.items():
        for other in chosen:
            if other != name and not _apart(factors, chosen[other]):
                raise ConfigError(
                    f"Modes {name!r} and {other!r} share an axis, so they cannot be dimensions of one mesh."
                )
    axes = _axis_modes(plan)
    rest: dict[Factors, str] = {}  # of modes with equal groups the first is enough
    for name in (*axes, *plan.modes):
        if _spans(plan[name]) and (factors := _factors(plan[name])):
            rest.setdefault(factors, name)
    found = _cover(_positions(plan), chosen, [(name, factors) for factors, name in rest.items()])
    if found is None:
        raise ConfigError(
            f"No modes of the plan make up a mesh of all {_positions(plan)} ranks together with {', '.join(names)}. "
            "Each axis, or each part of a split of it, needs a mode of its own."
        )
    ones = [name for name in axes if not _factors(plan[name])]

    def place(name: str) -> tuple[int, int]:
        """Return the stride, negative, and for an axis of size 1 its place behind larger modes of that stride."""
        if name not in ones:
            return -max((stride for _, stride in _factors(plan[name])), default=0), 0
        nesting = plan.order.index(axes[name])
        return -prod(plan.sizes[inner] for inner in plan.order[nesting:]), nesting + 1

    return tuple(sorted(dict.fromkeys((*found, *ones)), key=place))


def make_root(plan: Plan, names: Sequence[str], handles: Mapping[str, GroupHandle], rank: int) -> DeviceMesh:
    """Return the root mesh over some modes, from the process groups that they have.

    Raises:
        BuildError: if a process group has other ranks than the mesh has along its dimension.
    """
    import torch
    from torch.distributed.device_mesh import DeviceMesh

    from pgregistry.building.backend import mesh_device_type

    mesh = torch.zeros([handles[name].size for name in names], dtype=torch.int)
    for dimension, name in enumerate(names):
        along = LayoutGroups(Layout(_positions(plan), _factors(plan[name])))[0]
        mesh += torch.tensor(along, dtype=torch.int).view([-1 if d == dimension else 1 for d in range(len(names))])
    if plan.ranks is not None:
        mesh = torch.tensor(plan.ranks, dtype=torch.int)[mesh.long()]
    here = (mesh == rank).nonzero()[0].tolist()
    for dimension, name in enumerate(names):
        line: list[slice | int] = [*here]
        line[dimension] = slice(None)
        along = tuple(mesh[tuple(line)].tolist())
        if along != handles[name].ranks:
            raise BuildError(
                f"Mode {name!r} has group {handles[name].ranks}, but the mesh would have {along} there: "
                "with this order of within=, positions in a group are not positions in a mesh."
            )
    groups = [handles[name].group for name in names]
    return DeviceMesh.from_group(groups, mesh_device_type(groups[0]), mesh, mesh_dim_names=tuple(names))


def _positions(plan: Plan) -> int:
    return plan.world_size if plan.ranks is None else len(plan.ranks)


def _factors(mode: PlannedMode) -> Factors:
    """Return the (size, stride) pairs of a mode; raise ConfigError if its groups are not lines of a mesh."""
    if mode.layout is not None and _spans(mode):
        return mode.layout.factors
    if mode.layout is None:
        why = "its groups are listed by a function"
    else:
        why = "its last group is short" if mode.layout.ragged else "it keeps some positions of its groups only"
    raise ConfigError(f"Mode {mode.name!r} cannot be a dimension of a mesh: {why}.")


def _spans(mode: PlannedMode) -> bool:
    return mode.layout is not None and mode.layout.ragged is None and mode.layout.at is None


def _axis_modes(plan: Plan) -> dict[str, str]:
    """Return the axis of each mode that is the first over one axis alone, in nesting order."""
    first: dict[str, str] = {}
    for mode in plan.planned:
        if len(mode.over) == 1 and mode.over[0] in plan.order and _spans(mode):
            first.setdefault(mode.over[0], mode.name)
    return {first[axis]: axis for axis in plan.order if axis in first}


def _apart(some: Factors, others: Factors) -> bool:
    """Return True if two modes vary different digits of a rank.

    A factor (size, stride) takes the strides from `stride` up to `size * stride`:

        stride    1     2     4     8     16
        tensor    |--2--|                       (2, 1)
        pipe            |--2--|                 (2, 2)
        data                  |-----4-----|     (4, 4)
        shard                 |--2--|           (2, 4): not apart from data
    """
    return all(
        size * stride <= other_stride or other_size * other_stride <= stride
        for size, stride in some
        for other_size, other_stride in others
    )


def _cover(
    positions: int, chosen: Mapping[str, Factors], rest: Sequence[tuple[str, Factors]]
) -> dict[str, Factors] | None:
    """Return the chosen modes and those of the rest that leave no gap in the drawing of `_apart`; None if none do.

    Modes that are apart leave no gap if their sizes multiply to the number of positions. Earlier modes
    of the rest are preferred. A mode that fits may still leave a gap that no other fills, so that it is
    tried again without it.
    """
    if prod(size for factors in chosen.values() for size, _ in factors) == positions:
        return dict(chosen)
    for index, (name, factors) in enumerate(rest):
        if all(_apart(factors, other) for other in chosen.values()):
            found = _cover(positions, {**chosen, name: factors}, rest[index + 1 :])
            if found is not None:
                return found
    return None
