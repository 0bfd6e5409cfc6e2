"""Process groups by public torch calls alone: the fallback."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import torch.distributed as dist

from pgregistry.building.builder import GroupBuilder
from pgregistry.building.communicators.backend import FAKE
from pgregistry.building.communicators.options import torch_options
from pgregistry.building.communicators.splits import gloo_can_be_split, split, split_backend, to_split
from pgregistry.building.process_groups import ProcessGroups
from pgregistry.building.specs import Defaults, GroupSpec, default_group_spec, new_specs, specs_of_rank
from pgregistry.coordination.abandonable import MOMENT, check_given_up
from pgregistry.coordination.store.connections import LostError
from pgregistry.coordination.store.scoped_store import SLICE
from pgregistry.errors import BuildError, format_ranks
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import counter
from pgregistry.torch_private.group_creation import unbound

log = logging.getLogger(__name__)


def create_by_public_calls(builder: GroupBuilder) -> None:
    """Make all process groups of the plan with `split_group` and `new_group`, on all ranks in one order.

    torch names process groups by counting the calls of a rank. A user may have made some on some
    ranks only. A rank that is behind therefore first calls `new_group` for groups that it is not
    in, which makes nothing.

    Raises:
        BuildError: if `within` leaves out a rank, for all of them must make these calls.
    """
    scope, watchdog, size = builder.scope, builder.watchdog, dist.get_world_size()
    if left_out := set(range(size)).difference(scope.ranks):
        raise BuildError(
            f"within leaves out {format_ranks(left_out)}, but new_group must be called on all {size} ranks of the "
            "world. Unset PGREGISTRY_BUILD, or use a torch whose process groups can be named.",
            ranks=left_out,
        )
    scope.set(f"made/{scope.rank}", str(dist.get_pg_count()))
    keys = [f"made/{rank}" for rank in scope.ranks]
    try:
        while (counts := scope.read(keys, watchdog.next(SLICE))) is None:
            watchdog.look_around()
        # A call that ends late would take a name that torch gives to a process group of the next `init`.
        builder.run(partial(_create_all, builder, max(map(int, counts))), awaited=True)
    except BaseException:
        _skip_names(builder, keys)
        raise


def _skip_names(builder: GroupBuilder, keys: Sequence[str]) -> None:
    """Count all process groups of the plan, whether they were made or not.

    Ranks stop at different ones. The next that somebody makes must have one name on all ranks, and no address may
    stand under it yet. If a rank did not write its count, no rank has made a process group.
    """
    try:
        counts = builder.scope.read(keys, MOMENT)
    except LostError as error:
        log.debug("the counts of process groups could not be read: %s", error)
        return
    if counts is not None:
        planned = sum(map(len, new_specs(builder.plan, builder.defaults, builder.default_spec).values()))
        counter.raise_to(max(map(int, counts)) + planned)


def _create_all(builder: GroupBuilder, count: int) -> None:
    rank, size = builder.scope.rank, dist.get_world_size()
    for _ in range(count - dist.get_pg_count()):
        check_given_up()
        with unbound():  # else torch splits the communicator of the world, on the ranks that are behind alone
            dist.new_group([(rank + 1) % size])
    backend = "gloo" if gloo_can_be_split() else split_backend()
    for specs in new_specs(builder.plan, builder.defaults, builder.default_spec).values():
        partition = to_split(specs, backend)
        if partition:
            check_given_up()
            _split(builder, partition)
        for spec in specs:
            if spec not in partition:
                _new(builder, spec)


def _split(builder: GroupBuilder, specs: Sequence[GroupSpec]) -> None:
    """Make the process groups of a mode in one call on all ranks."""
    given, brief = _timeouts(builder, specs[0])
    mine = split(builder, specs, seconds=None if brief is None else brief.total_seconds())
    if mine is not None and brief is not None:
        builder.groups.created[mine].set_timeout(given)  # type: ignore[union-attr]


def _timeouts(builder: GroupBuilder, spec: GroupSpec) -> tuple[timedelta, timedelta | None]:
    """Return the timeout of a process group, and that with which it is made, if it must be another one.

    gloo waits for members as long as for collectives, which is too long if this rank gives up.
    """
    given = _duration(spec) or dist.default_pg_timeout
    if spec.backend == "gloo" and hasattr(dist.ProcessGroup, "set_timeout"):
        return given, timedelta(seconds=builder.watchdog.after(given.total_seconds()))
    return given, None


def _new(builder: GroupBuilder, spec: GroupSpec) -> None:
    # A communicator that is split is there at once, on all ranks, and gloo has none.
    alone = spec.backend == "gloo" or len(spec.ranks) == 1
    with builder.naming(spec), unbound() if alone else nullcontext():
        if builder.scope.rank in spec.ranks:
            builder.waits = str(dist.get_pg_count()), spec, _world().get_group_store()
        arguments = _arguments(spec)
        given, brief = _timeouts(builder, spec)
        if brief is not None:
            arguments["timeout"] = brief
        group: Any = dist.new_group(**arguments)
    if builder.scope.rank in spec.ranks:
        if brief is not None:
            group.set_timeout(given)
        builder.add(spec, group)


def create_fake(plan: Plan, rank: int, defaults: Defaults, groups: ProcessGroups) -> None:
    """Make the process groups of one rank in a world of torch's backend `fake`, which communicates with nobody.

    All of them are fake, whatever their modes say, and there are no companions.
    """
    default = default_group_spec(plan, replace(defaults, backend=FAKE))
    for mode, (spec, *_) in specs_of_rank(plan, rank, defaults).items():
        fake, group = replace(spec, backend=FAKE, options=()), _world()
        if fake != default:
            group = groups.created.get(fake) or dist.new_group(**_arguments(fake))
            groups.created[fake] = group
        groups.groups[mode] = group


def _arguments(spec: GroupSpec) -> dict[str, Any]:
    """Return a spec as `new_group` takes it."""
    order = {} if spec.ascends else {"sort_ranks": False}
    return order | {
        "ranks": list(spec.ranks),
        "timeout": _duration(spec),
        "backend": spec.backend,
        "pg_options": torch_options(spec),
        "group_desc": spec.description,
    }


def _world() -> Any:
    return dist.group.WORLD


def _duration(spec: GroupSpec) -> timedelta | None:
    return None if spec.timeout is None else timedelta(seconds=spec.timeout)
