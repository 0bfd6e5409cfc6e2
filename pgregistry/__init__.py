"""Process groups for distributed PyTorch: modes are plugins, the plan is data.

    import pgregistry

    with pgregistry.init(tensor=2, pipe=2) as context:
        tensor = context["tensor"]

Planning needs no torch. It is imported when `init` is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pgregistry.errors import BuildError, ConfigError, PgregistryError, PlanMismatch, PluginError
from pgregistry.hookspecs import hookimpl
from pgregistry.layouts.groups import Groups
from pgregistry.planning.api import plan, plan_modes
from pgregistry.planning.mesh import Mesh
from pgregistry.planning.plans.mode import PlannedMode
from pgregistry.planning.plans.plan import Plan
from pgregistry.vocabulary import FULL, HOST, REST, WORLD, Axis, Mode, Split

if TYPE_CHECKING:
    from pgregistry.runtime.context import ParallelContext
    from pgregistry.runtime.handle import GroupHandle
    from pgregistry.runtime.initialize import init

    __version__: str

__all__ = [
    "FULL",
    "HOST",
    "REST",
    "WORLD",
    "Axis",
    "BuildError",
    "ConfigError",
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
    "Split",
    "__version__",
    "hookimpl",
    "init",
    "plan",
    "plan_modes",
]

#: Names that are imported when they are first used: the module and the name there.
_LAZY: Final = {
    "GroupHandle": ("pgregistry.runtime.handle", "GroupHandle"),
    "ParallelContext": ("pgregistry.runtime.context", "ParallelContext"),
    "init": ("pgregistry.runtime.initialize", "init"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("pgregistry")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
