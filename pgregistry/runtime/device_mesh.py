"""Process groups of a plan as a torch DeviceMesh: always a slice of one mesh over all axes.

A DeviceMesh over some axes alone gives wrong sums when it is flattened, and `from_group`
believes any mesh that it is given. So the root covers every rank, and is checked first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from pgregistry.errors import BuildError, ConfigError
from pgregistry.layouts.groups import LayoutGroups
from pgregistry.layouts.layout import Factors, Layout
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.handle import Handle


def root_modes(plan: Plan, names: Sequence[str]) -> tuple[str, ...]:
    """The modes that are the dimensions of the root mesh for some modes, outermost first.

    >>> import pgregistry
    >>> root_modes(pgregistry.plan(16, tensor=2, pipe=2), ["tensor"])
    ('data', 'pipe', 'tensor')
    >>> root_modes(pgregistry.plan(16, tensor=2, pipe=2), ["model"])
    ('data', 'model')

    Raises:
        ConfigError: naming the mode that spans no mesh, or what no mode spans.
    """
    chosen = {name: _factors(plan[name]) for name in dict.fromkeys(names)}
    for name, factors in chosen.items():
        for other in chosen:
            if other != name and not _apart(factors, chosen[other]):
                raise ConfigError(
                    f"Modes {name!r} and {other!r} share an axis, so they cannot be dimensions of one mesh."
                )
    axes = sorted(_axis_modes(plan), key=lambda name: plan.order.index(plan[name].over[0]))
    rest = [name for name in (*axes, *plan.modes) if _spans(plan[name])]
    found = _cover(plan, chosen, rest)
    if found is None:
        raise ConfigError(
            f"No modes of the plan make up a mesh of all {_positions(plan)} ranks together with {', '.join(names)}. "
            "Each axis, or each part of a split of it, needs a mode of its own."
        )
    alone = {name: factors for name in axes if not (factors := _factors(plan[name])) and name not in found}
    places = _places(plan)
    return tuple(sorted({**found, **alone}, key=lambda name: places.get(name) or (-_outermost(plan[name]), 0)))


def _outermost(mode: PlannedMode) -> int:
    return max((stride for _, stride in _factors(mode)), default=0)


def _places(plan: Plan) -> dict[str, tuple[int, int]]:
    """Sort keys for the modes over one axis each: by nesting, those of size 1 in their place."""
    places, stride = {}, 1
    modes = {plan[name].over[0]: name for name in _axis_modes(plan)}
    for index, axis in reversed(list(enumerate(plan.order))):
        if axis in modes:
            places[modes[axis]] = (-stride, index)
        stride *= plan.sizes[axis]
    return places


def make_root(plan: Plan, names: Sequence[str], handles: Mapping[str, Handle], rank: int) -> DeviceMesh:
    """The root mesh over some modes, from the process groups that they have."""
    shape = [plan[name].group_of(rank) or () for name in names]
    mesh = torch.zeros([len(group) for group in shape], dtype=torch.int)
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
    device = _device_type(groups[0])
    return DeviceMesh.from_group(groups, device, mesh, mesh_dim_names=tuple(names))


def _positions(plan: Plan) -> int:
    return plan.world_size if plan.ranks is None else len(plan.ranks)


def _spans(mode: PlannedMode) -> bool:
    return mode.layout is not None and mode.layout.ragged is None and mode.layout.at is None


def _factors(mode: PlannedMode) -> Factors:
    layout = mode.layout
    if layout is None:
        raise ConfigError(f"Mode {mode.name!r} spans no mesh: its groups are listed by a function.")
    if layout.ragged is not None:
        raise ConfigError(f"Mode {mode.name!r} spans no mesh: its last group is short.")
    if layout.at is not None:
        raise ConfigError(f"Mode {mode.name!r} spans no mesh: it keeps some positions of its groups only.")
    return layout.factors


def _axis_modes(plan: Plan) -> list[str]:
    """For each axis the first mode that is over it alone."""
    first: dict[str, str] = {}
    for mode in plan.planned:
        if len(mode.over) == 1 and mode.over[0] in plan.order and _spans(mode):
            first.setdefault(mode.over[0], mode.name)
    return list(first.values())


def _apart(some: Factors, others: Factors) -> bool:
    """Whether two sets of factors share no digit: each is the strides from its own up to size × stride."""
    return all(
        size * stride <= other_stride or other_size * other_stride <= stride
        for size, stride in some
        for other_size, other_stride in others
    )


def _cover(plan: Plan, chosen: Mapping[str, Factors], rest: Sequence[str]) -> dict[str, Factors] | None:
    """The chosen modes and as many of the rest as cover every rank once; None if they cannot."""
    if prod(size for factors in chosen.values() for size, _ in factors) == _positions(plan):
        return dict(chosen)
    for index, name in enumerate(rest):
        factors = _factors(plan[name])
        if factors and all(_apart(factors, other) for other in chosen.values()):
            found = _cover(plan, {**chosen, name: factors}, rest[index + 1 :])
            if found is not None:
                return found
    return None


def _device_type(group: dist.ProcessGroup) -> str:
    devices = [pair.split(":")[0] for pair in str(dist.get_backend_config(group)).split(",")]
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None and accelerator.type in devices and dist.get_backend(group) != "gloo":
        return accelerator.type
    return "cpu"
