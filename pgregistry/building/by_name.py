"""Process groups by name: each is made by its members alone, and those of gloo all at the same time.

Communicators that torch splits from that of a bound world are the exception: all ranks split those of a mode at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch.distributed as dist

from pgregistry.building.address_exchange import ExchangeStore, run_together
from pgregistry.building.builder import GroupBuilder
from pgregistry.building.communicators.backend import gloo_environment
from pgregistry.building.communicators.options import is_lazy, lazy_device, torch_options
from pgregistry.building.communicators.splits import split, split_backend, to_split
from pgregistry.building.specs import GroupSpec, has_gloo, new_specs, specs_of_group
from pgregistry.coordination.abandonable import check_given_up
from pgregistry.coordination.store.connections import waiting
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import group_creation, group_names
from pgregistry.torch_private.group_creation import unbound


def create_by_name(builder: GroupBuilder) -> None:
    """Make the process groups that this rank is in."""
    scope = builder.scope
    _split_world(builder)
    specs = [spec for spec, made in builder.groups.created.items() if made is None]
    gloo = [spec for spec in specs if spec.backend == "gloo"]
    mixed = [spec for spec in specs if spec.backend != "gloo" and has_gloo(spec.backend)]
    store = ExchangeStore(scope, sorted({rank for spec in gloo for rank in spec.ranks} - {scope.rank}))
    builder.groups.kept.append(store)
    run_together(
        store,
        [partial(_create, builder, spec, store) for spec in gloo],
        builder.watchdog,
        partial(gloo_environment, builder.plan.world_size),
    )
    _create_in_turn(builder, mixed)
    for spec in specs:
        if not has_gloo(spec.backend):  # these connect at their first collective
            _create(builder, spec, scope.store)


def _split_world(builder: GroupBuilder) -> None:
    """Split communicators from that of the default process group, if torch would do so, and all ranks are here."""
    backend = split_backend()
    if backend is None or len(builder.scope.ranks) < dist.get_world_size():
        return
    plan, defaults = builder.plan, builder.defaults
    if all(is_lazy(specs_of_group(mode, 0, (), defaults)[0]) for mode in plan.planned):
        return
    new = new_specs(plan, defaults, builder.default_spec).values()
    eager = [[spec for spec in specs if not is_lazy(spec)] for specs in new]
    partitions = [found for specs in eager if (found := to_split(specs, backend))]

    def split_all() -> None:
        for specs in partitions:
            check_given_up()
            split(builder, specs)

    if partitions:
        builder.run(split_all, awaited=True)


def _create(builder: GroupBuilder, spec: GroupSpec, store: Any) -> None:
    lazy = is_lazy(spec)
    # gloo splits nothing, and its process groups are made in several threads.
    with builder.naming(spec), nullcontext() if lazy or spec.backend == "gloo" else unbound():
        group = group_creation.create_group(
            spec.ranks,
            builder.scope.rank,
            name=_name(builder, spec),
            backend=spec.backend,
            store=store,
            options=torch_options(spec, lazy=True),
            timeout=spec.timeout,
            device=lazy_device(spec.backend) if lazy else None,
            description=spec.description,
        )
    builder.add(spec, group)


def numbers_in_use(plan: Plan) -> int:
    """Return the numbers in the names of living process groups of a plan on this rank, as bits: 5 is 0 and 2."""
    prefix = f"{_prefix(plan)}/"
    ours = (name.removeprefix(prefix).partition("/") for name in group_names.living() if name.startswith(prefix))
    return sum(1 << number for number in {int(number) for number, slash, _ in ours if slash and number.isdecimal()})


def _name(builder: GroupBuilder, spec: GroupSpec) -> str:
    """Return the name of a process group: equal on every member, and in every run of the plan."""
    return f"{_prefix(builder.plan)}/{builder.number}/{spec.name}"


def _prefix(plan: Plan) -> str:
    return f"pgregistry/{plan.fingerprint[:8]}"


def _create_in_turn(builder: GroupBuilder, specs: Sequence[GroupSpec]) -> None:
    """Make process groups of gloo and another backend, one after another, in a thread.

    The other backend keeps the store, so it must be the real one, and torch waits in it for the members.
    """
    if not specs:
        return
    store = builder.scope.second_connection()

    def create_all() -> None:
        with waiting(store, builder.watchdog.after()):
            for spec in specs:
                builder.waits = _name(builder, spec), spec, store
                _create(builder, spec, store)

    with gloo_environment(builder.plan.world_size):
        builder.run(create_all)
