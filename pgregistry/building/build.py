"""Build an agreed plan: process groups by name if this torch can, else by public calls."""

from __future__ import annotations

import inspect
import logging
import os
from typing import Literal, TypeAlias

import torch
import torch.distributed as dist

from pgregistry.building.builder import GroupBuilder
from pgregistry.building.by_name import create_by_name
from pgregistry.building.by_public_calls import create_by_public_calls
from pgregistry.building.communicators.availability import check_available, check_devices
from pgregistry.building.communicators.options import torch_options
from pgregistry.building.specs import Defaults, ascends, specs_of_group
from pgregistry.coordination.barrier import lost
from pgregistry.coordination.store.connections import LostError
from pgregistry.errors import ConfigError, Problems
from pgregistry.planning.plans.plan import Plan
from pgregistry.torch_private import group_creation
from pgregistry.values import shown

log = logging.getLogger("pgregistry")

Strategy: TypeAlias = Literal["by_name", "by_public_calls"]


def build_strategy() -> Strategy:
    """Return how process groups are made.

    They are made by public calls if the user set PGREGISTRY_BUILD=public, or if this torch lacks the private ones.
    """
    if os.environ.get("PGREGISTRY_BUILD") == "public" or not group_creation.available():
        return "by_public_calls"
    return "by_name"


def why_public() -> str:
    """Return why process groups are made by public calls; empty if they are made by name."""
    if os.environ.get("PGREGISTRY_BUILD") == "public":
        return "PGREGISTRY_BUILD"
    if build_strategy() == "by_name":
        return ""
    way_out = "install one torch on all hosts, or set PGREGISTRY_BUILD=public on all ranks"
    return f"torch {torch.__version__} lacks private calls, or has changed them: {way_out}"


def check_buildable(
    plan: Plan,
    strategy: Strategy,
    defaults: Defaults,
    *,
    backend_origin: str = "default",
    device: torch.device | None = None,
    local_rank: int | None = None,
) -> None:
    """Return if every mode of a plan can be built; no rank has made anything yet.

    Args:
        plan: The plan.
        strategy: How process groups are made.
        defaults: The run's settings for modes that have none.
        backend_origin: Where the run's backend was named.
        device: The device that the run names, if it does.
        local_rank: The rank among those of its host, if known.

    Raises:
        ConfigError: if a backend cannot work here or does not take the options of a mode, or a group has an order
            that this torch does not keep.
    """
    problems = Problems()
    backends = {defaults.backend: f"backend = {shown(defaults.backend)} ({backend_origin})"}
    for mode in plan.planned:
        if mode.backend is not None:
            origin = mode.origins.get("backend", str(mode.plugin))
            backends.setdefault(mode.backend, f"Mode {mode.name!r} has backend {shown(mode.backend)} ({origin}), which")
    for backend, said in backends.items():
        with problems.collecting():
            check_available(backend, said)
            check_devices(backend, device, local_rank)
    problems.raise_any()
    for mode in plan.planned:
        with problems.collecting():
            torch_options(specs_of_group(mode, 0, (), defaults)[0], mode.option_origins())
    problems.raise_any()
    if strategy == "by_name" or "sort_ranks" in inspect.signature(dist.new_group).parameters:
        return
    for mode in plan.planned:
        if group := next((group for group in mode.groups if not ascends(group)), None):
            raise ConfigError(
                f"Mode {mode.name!r} has group {shown(group)}, but new_group of this torch sorts ranks, so they must "
                "ascend. Unset PGREGISTRY_BUILD, or use torch 2.13 or later."
            )


def build(builder: GroupBuilder) -> None:
    """Make the process groups of a plan that this rank is in; every rank of the scope must call it.

    Raises:
        BuildError: if a group could not be made, or another rank failed or is missing.
    """
    scope, strategy = builder.scope, build_strategy()
    if (
        strategy == "by_public_calls"
        and os.environ.get("PGREGISTRY_BUILD") != "public"
        and scope.rank == scope.ranks[0]
    ):
        log.warning(
            "Process groups are made by public calls on all ranks, for torch %s lacks the private calls that name "
            "them, or has changed them. within= cannot leave out ranks then.",
            torch.__version__,
        )
    try:
        (create_by_name if strategy == "by_name" else create_by_public_calls)(builder)
    except LostError as error:
        raise lost(scope, error) from error
    builder.assign()
