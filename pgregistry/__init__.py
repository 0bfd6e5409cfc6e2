"""Process groups for distributed PyTorch: modes are plugins, the plan is data.

    import pgregistry

    with pgregistry.init(tensor=2, pipe=2) as context:
        tensor = context["tensor"]

Planning needs no torch. It is imported when `init` is called.
"""

from __future__ import annotations

from typing import Any

from pgregistry.diagnosis.api import diagnose
from pgregistry.diagnosis.report import Diagnosis
from pgregistry.errors import BuildError, ConfigError, PgregistryError, PlanMismatch, PluginError
from pgregistry.hookspecs import hookimpl
from pgregistry.layouts.groups import Groups
from pgregistry.planning.api import plan, plan_modes
from pgregistry.planning.mesh import Mesh
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.runtime.contexts.context import ParallelContext, current
from pgregistry.runtime.contexts.handle import GroupHandle
from pgregistry.runtime.entry import init
from pgregistry.vocabulary import DOMAIN, FULL, HOST, REST, WORLD, Axis, Mode, Setting, Split

__all__ = [
    "DOMAIN",
    "FULL",
    "HOST",
    "REST",
    "WORLD",
    "Axis",
    "BuildError",
    "ConfigError",
    "Diagnosis",
    "GroupHandle",
    "Groups",
    "Mesh",
    "Mode",
    "ParallelContext",
    "PgregistryError",
    "Plan",
    "PlanMismatch",
    "PlannedMode",
    "PluginError",
    "Setting",
    "Split",
    "__version__",
    "current",
    "diagnose",
    "hookimpl",
    "init",
    "plan",
    "plan_modes",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # reading the metadata takes a while
        from pgregistry.registry.distributions import core_version

        return core_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
