"""The modes of a plan as the dimensions of a mesh: each mapping here is of names of dimensions to their modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from math import inf, prod

from pgregistry.errors import ConfigError, did_you_mean
from pgregistry.layouts.digits import apart, cover, inside, outermost
from pgregistry.layouts.factors import Factor, Factors, merge
from pgregistry.planning.plans.contents import PlanContents
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.settings.merge import LEFT
from pgregistry.values import shown

Dimensions = Mapping[str, str]


def check_dimensions(plan: PlanContents, modes: Sequence[str], names: Dimensions) -> dict[str, str]:
    """Return the dimensions that are asked for: modes by their own names, then modes by other names.

    >>> import pgregistry
    >>> check_dimensions(pgregistry.plan(16, tensor=2, pipe=2), ["pipe"], {"dp": "data"})
    {'pipe': 'pipe', 'dp': 'data'}

    Raises:
        ConfigError: if there is no such mode, one is named twice or spans no mesh, two share an axis, or a
            name is that of another mode.
    """
    asked = [*zip(modes, modes, strict=True), *names.items()]
    for name, mode in asked:
        if mode not in plan:
            hint = did_you_mean(mode if isinstance(mode, str) else shown(mode), plan.modes)
            raise ConfigError(f"There is no mode {shown(mode)}. {hint}")
        if not spans(plan[mode]):
            raise ConfigError(
                f"Mode {mode!r} cannot be a dimension of a mesh: {_why_not(plan[mode])}. "
                f"The modes that can are {', '.join(other.name for other in plan.planned if spans(other))}."
            )
        if name != mode and name in plan:
            raise ConfigError(
                f"device_mesh({name}={mode!r}) must not give a dimension the name of another mode. "
                f"Choose a name other than {', '.join(plan.modes)}."
            )
    for (_, mode), (_, other) in combinations(asked, 2):
        if mode == other:
            raise ConfigError(f"device_mesh() must name each mode once, but {mode!r} is there twice. Leave one out.")
        if {*plan[mode].over} & {*plan[other].over} or not apart(factors_of(plan[mode]), factors_of(plan[other])):
            raise ConfigError(
                f"Modes {mode!r} and {other!r} share an axis, so they cannot be dimensions of one mesh. "
                "Leave one out, or ask for a mesh of each."
            )
    return dict(asked)


def root_dimensions(plan: PlanContents, asked: Dimensions) -> dict[str, str]:
    """Return the dimensions of the root mesh of which a mesh with the dimensions `asked` is a slice.

    Modes larger than 1 keep the order in which they are asked for. The rest of the mesh stands where nesting
    puts it. Modes of size 1 have a place of their own, since a slice may have them anywhere.

    >>> import pgregistry
    >>> plan = pgregistry.plan(16, tensor=2, pipe=2)
    >>> list(root_dimensions(plan, {"data": "data", "tensor": "tensor"}))
    ['data', 'pipe', 'tensor']
    >>> list(root_dimensions(plan, {"tensor": "tensor", "dp": "data"}))
    ['pipe', 'tensor', 'dp']
    >>> list(root_dimensions(plan, {"model": "model"}))
    ['data', 'model']

    Raises:
        ConfigError: if no modes make up the rest of the mesh.
    """
    axes = _axis_modes(plan)
    chosen = {name: factors_of(plan[mode]) for name, mode in asked.items()}
    others = [name for name in (*axes, *plan.modes) if spans(plan[name])]
    found = cover(positions(plan), chosen, {name: factors_of(plan[name]) for name in others})
    taken = {part for mode in asked.values() for part in plan[mode].over}
    ones = {name: axis for name, axis in axes.items() if not factors_of(plan[name]) and axis not in taken}
    if found is None or not (found or ones):
        raise ConfigError(
            f"No modes of the plan make up a mesh of all {positions(plan)} ranks"
            f"{' together with ' * bool(asked)}{', '.join(asked.values())}. "
            "Each axis, or each part of a split of it, needs a mode of its own."
        )
    for name in sorted((name for name in asked if not chosen[name]), key=lambda name: plan.modes.index(asked[name])):
        over = plan[asked[name]].over
        ones[name] = over[0] if len(over) == 1 and over[0] in plan.order else ""

    def place(name: str) -> tuple[float, int]:
        """Return the stride, negative, and for an axis of size 1 its place behind larger modes of that stride."""
        if name not in ones:
            return -outermost(found[name]), 0
        axis = ones[name]
        return (-_factor(plan, axis)[1], plan.order.index(axis) + 1) if axis else (-inf, 0)

    order = [name for name in asked if chosen[name]]
    for names in ([name for name in found if name not in asked], ones):
        for name in sorted(names, key=place):
            inner = (index for index, other in enumerate(order) if place(other) > place(name))
            order.insert(next(inner, len(order)), name)
    return {name: asked.get(name, name) for name in order}


def inner_before_copies(plan: PlanContents, dimensions: Dimensions) -> tuple[str, str] | None:
    """Return a dimension over the innermost axis, and a later one along which FSDP may shard; None if there are none.

    FSDP shards along the axis that takes what is left, or, if every size is given, along any axis outside of the
    innermost one.

    >>> import pgregistry
    >>> inner_before_copies(pgregistry.plan(8, tensor=2), {"tp": "tensor", "pipe": "pipe", "dp": "data"})
    ('tp', 'dp')
    """
    rest = next((axis for axis in plan.order if plan.values[axis].origin == LEFT), None)
    innermost = next((axis for axis in reversed(plan.order) if axis != rest), None)
    if innermost is None:
        return None
    inner = (_factor(plan, innermost),)
    larger = [(name, factors) for name, mode in dimensions.items() if (factors := factors_of(plan[mode]))]
    for (name, factors), (later, others) in combinations(larger, 2):
        copies = inside(others, (_factor(plan, rest),)) if rest else not inside(others, inner)
        if copies and inside(factors, inner):
            return name, later
    return None


def whole_dimensions(factors: Factors, dimensions: Sequence[Factors]) -> list[int]:
    """Return the indices of the dimensions that a mode is over, if it is over whole ones; else an empty list.

    A mode of size 1 is over all dimensions of size 1.

    >>> whole_dimensions(((4, 1),), [((4, 4),), ((2, 2),), (), ((2, 1),)])
    [1, 3]
    """
    over = [index for index, own in enumerate(dimensions) if bool(own) == bool(factors) and inside(own, factors)]
    return over if merge(factor for index in over for factor in dimensions[index]) == factors else []


def factors_of(mode: PlannedMode) -> Factors:
    """Return the (size, stride) pairs of a mode that `spans`."""
    return mode.layout.factors if mode.layout is not None else ()


def offsets(factors: Factors) -> list[int]:
    """Return the offsets of all positions along factors, in their order.

    >>> offsets(((2, 4), (2, 1)))
    [0, 1, 4, 5]
    """
    return [sum(steps) for steps in product(*(range(0, size * stride, stride) for size, stride in factors))]


def positions(plan: PlanContents) -> int:
    """Return the number of ranks that the plan lives on."""
    return plan.world_size if plan.ranks is None else len(plan.ranks)


def spans(mode: PlannedMode) -> bool:
    """Return True if the groups of a mode are lines of a mesh of all ranks."""
    layout = mode.layout
    return layout is not None and layout.ragged is None and layout.at is None and not layout.where


def _why_not(mode: PlannedMode) -> str:
    if mode.layout is None:
        return "its groups are listed by a function"
    if mode.layout.ragged:
        return "its last group is short"
    return f"it keeps some {'ranks' if mode.layout.where else 'positions of its groups'} only"


def _factor(plan: PlanContents, axis: str) -> Factor:
    """Return the size and the stride of an axis."""
    inner = plan.order[plan.order.index(axis) + 1 :]
    return plan.sizes[axis], prod(plan.sizes[other] for other in inner)


def _axis_modes(plan: PlanContents) -> dict[str, str]:
    """Return the axis of each mode that is the first over one axis alone, in nesting order."""
    first: dict[str, str] = {}
    for mode in plan.planned:
        if len(mode.over) == 1 and mode.over[0] in plan.order and spans(mode):
            first.setdefault(mode.over[0], mode.name)
    return {first[axis]: axis for axis in plan.order if axis in first}
