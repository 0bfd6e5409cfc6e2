"""The process groups of a plan as a torch DeviceMesh: always a slice of a root mesh over all axes.

A DeviceMesh over some axes alone gives wrong sums when it is flattened, and `from_group` does not
check the mesh that it is given. A root therefore covers every rank, and is checked here first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pgregistry.errors import BuildError, ConfigError, listing
from pgregistry.planning.plans.dimensions import (
    Dimensions,
    factors_of,
    inner_before_copies,
    offsets,
    spans,
    whole_dimensions,
)
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.contexts.handle import GroupHandle

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

log = logging.getLogger("pgregistry")


class Meshes:
    """The root meshes of a context. Each is made when it is first asked for.

    Args:
        plan: The plan.
        rank: This rank.
        handles: For each mode that this rank is in, its group.
    """

    def __init__(self, plan: Plan, rank: int, handles: Mapping[str, GroupHandle]) -> None:
        self._plan = plan
        self._rank = rank
        self._handles = handles
        self._roots: dict[tuple[tuple[str, str], ...], DeviceMesh] = {}

    def root(self, dimensions: Dimensions) -> DeviceMesh:
        """Return the root mesh with these dimensions, which cover all ranks."""
        key = tuple(dimensions.items())
        if key not in self._roots:
            self._roots[key] = self._make_root(dimensions)
            _warn_of_order(self._plan, dimensions, self._rank)
        return self._roots[key]

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Forget the meshes, and let DTensor forget them, while the process groups are destroyed inside.

        A DTensor of another context may hold one of the meshes, if that context had an equal one, or that of an
        earlier context with the same names. Process groups of that context then answer to the names in it.
        """
        from pgregistry.torch_private import dtensor, group_names, root_mesh

        left = set()
        for handle in self._handles.values():
            with suppress(BuildError):  # other code may have destroyed it
                group = handle.group
                left.add(group_names.NamedGroup(group.group_name, group.group_desc, handle.ranks))
        made = bool(self._roots)
        while self._roots:
            root_mesh.release(self._roots.popitem()[1])
        if made:
            dtensor.forget_meshes()
        yield
        for named in left:
            group_names.hand_over(named)

    def _make_root(self, dimensions: Dimensions) -> DeviceMesh:
        import torch
        from torch.distributed.device_mesh import DeviceMesh

        from pgregistry.building.communicators.backend import mesh_device_type

        along = [offsets(factors_of(self._plan[mode])) for mode in dimensions.values()]
        ranks = torch.zeros([len(line) for line in along], dtype=torch.int)
        for dimension, line in enumerate(along):
            ranks += torch.tensor(line, dtype=torch.int).view([-1 if d == dimension else 1 for d in range(ranks.ndim)])
        if self._plan.ranks is not None:
            ranks = torch.tensor(self._plan.ranks, dtype=torch.int)[ranks.long()]
        groups = [self._handles[mode].group for mode in dimensions.values()]
        root = DeviceMesh.from_group(groups, mesh_device_type(groups[0]), ranks, mesh_dim_names=tuple(dimensions))
        self._add_flattened(root, dimensions, ranks)
        return root

    def _add_flattened(self, root: DeviceMesh, dimensions: Dimensions, ranks: Tensor) -> None:
        """Make every other mode over whole dimensions of the root a flattened dimension of it.

        DTensor takes the first that fits, so those that share a process group come before those that are dedicated.
        """
        from pgregistry.building.communicators.backend import mesh_device_type
        from pgregistry.torch_private import root_mesh

        if not root_mesh.available(root):
            log.debug("The mesh has no flattened dimensions: this torch keeps them in another way.")
            return
        names = list(dimensions)
        factors = [factors_of(self._plan[mode]) for mode in dimensions.values()]
        for mode in sorted(self._plan.planned, key=lambda mode: mode.dedicated):
            over = whole_dimensions(factors_of(mode), factors) if spans(mode) and mode.name not in names else []
            if over and self._has_lines(mode.name, ranks, over):
                group = self._handles[mode.name].group
                if mesh_device_type(group) == root.device_type:
                    root_mesh.add_flattened(root, mode.name, [names[dimension] for dimension in over], group)

    def _has_lines(self, mode: str, ranks: Tensor, dimensions: Sequence[int]) -> bool:
        """Return True if the groups of a mode are the lines along some dimensions, with ranks in the same order.

        Without `within=` all lines are that of this rank, moved.
        """
        last = range(ranks.ndim - len(dimensions), ranks.ndim)
        lines = ranks.movedim([*dimensions], [*last]).flatten(last.start)
        lines = lines.reshape(-1, lines.shape[-1])
        if self._plan.ranks is None:
            lines = lines[(lines == self._rank).any(-1)]
        return all(self._plan[mode].group_of(line[0]) == tuple(line) for line in lines.tolist())


def sliced(root: DeviceMesh, names: tuple[str, ...]) -> DeviceMesh:
    """Return a slice of a root mesh.

    Raises:
        ConfigError: if the dimensions have another order than in the root, and torch does not slice in that order.
    """
    try:
        return root[names]
    except KeyError as error:
        raise ConfigError(
            f"device_mesh() names {listing(names)}, in another order than the root mesh has them, "
            f"{listing(root.mesh_dim_names or ())}. This torch only slices in that order. Name them in it, or use "
            "torch 2.13 or later."
        ) from error


def _warn_of_order(plan: Plan, dimensions: Dimensions, rank: int) -> None:
    """Log a warning about an order in which torch cannot gather what tensor parallelism and FSDP shard together.

    One rank logs it, the first of the plan.
    """
    first = plan.ranks[0] if plan.ranks else 0
    if rank == first and (pair := inner_before_copies(plan, dimensions)):
        inner, copies = pair
        log.warning(
            "The root mesh (%s) has %r before %r. If FSDP shards over %r what is sharded over %r, torch trains it, but "
            "raises KeyError in clip_grad_norm_() and in full_tensor() of a sum. Name %r before %r in device_mesh(), "
            "and slice that mesh.",
            ", ".join(dimensions),
            *(inner, copies, copies, inner, copies, inner),
        )
