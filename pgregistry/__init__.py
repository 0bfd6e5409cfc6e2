"""Process groups for distributed PyTorch: modes are plugins, the plan is data.

    import pgregistry

    with pgregistry.init(tensor=2, pipe=2) as context:
        tensor = context["tensor"]

Planning needs no torch. It is imported when `init` is called. A plugin imports the vocabulary alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pgregistry.errors import BuildError, ConfigError, PgregistryError, PlanMismatch, PluginError
from pgregistry.hookspecs import hookimpl
from pgregistry.runtime.entry import init
from pgregistry.vocabulary import DOMAIN, FULL, HOST, REST, WORLD, Axis, Mode, Setting, Split

if TYPE_CHECKING:
    from pgregistry.diagnosis.api import diagnose
    from pgregistry.diagnosis.page import debug_handler
    from pgregistry.diagnosis.report import Diagnosis
    from pgregistry.layouts.groups import Groups
    from pgregistry.planning.api import plan, plan_modes
    from pgregistry.planning.mesh import Mesh
    from pgregistry.planning.plans.mode import PlannedMode
    from pgregistry.planning.plans.plan import Plan
    from pgregistry.runtime.contexts.context import ParallelContext, current
    from pgregistry.runtime.contexts.handle import GroupHandle

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
    "debug_handler",
    "diagnose",
    "hookimpl",
    "init",
    "plan",
    "plan_modes",
]


#: Names whose module is imported when the name is used: plugins use none of them, and scripts often `init` alone.
_LATER = {
    "Diagnosis": "diagnosis.report",
    "GroupHandle": "runtime.contexts.handle",
    "Groups": "layouts.groups",
    "Mesh": "planning.mesh",
    "ParallelContext": "runtime.contexts.context",
    "Plan": "planning.plans.plan",
    "PlannedMode": "planning.plans.mode",
    "current": "runtime.contexts.context",
    "debug_handler": "diagnosis.page",
    "diagnose": "diagnosis.api",
    "plan": "planning.api",
    "plan_modes": "planning.api",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = value  # the next time it is found without this function
        return value
    if name == "__version__":  # reading the metadata takes a while
        from pgregistry.registry.distributions import core_version

        return core_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
