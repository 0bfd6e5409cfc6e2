"""Process groups for distributed PyTorch: modes are plugins, the plan is data.

    import pgregistry

    with pgregistry.init(tensor=2, pipe=2) as context:
        tensor = context["tensor"]

Planning needs no torch, so torch is imported only when `init` is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgregistry.errors import BuildError, ConfigError, PgregistryError, PlanMismatch, PluginError
from pgregistry.hookspecs import hookimpl
from pgregistry.planning.isolated import plan_modes
from pgregistry.planning.planner import plan
from pgregistry.planning.plans.plan import Plan
from pgregistry.vocabulary import FULL, HOST, REST, WORLD, Axis, Mode, Split

if TYPE_CHECKING:
    from pgregistry.runtime.context import ParallelContext
    from pgregistry.runtime.initialize import init

__all__ = [
    "FULL",
    "HOST",
    "REST",
    "WORLD",
    "Axis",
    "BuildError",
    "ConfigError",
    "Mode",
    "ParallelContext",
    "PgregistryError",
    "Plan",
    "PlanMismatch",
    "PluginError",
    "Split",
    "hookimpl",
    "init",
    "plan",
    "plan_modes",
]


def __getattr__(name: str) -> Any:
    if name == "init":
        from pgregistry.runtime.initialize import init

        return init
    if name == "ParallelContext":
        from pgregistry.runtime.context import ParallelContext

        return ParallelContext
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
