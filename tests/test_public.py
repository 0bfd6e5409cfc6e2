"""The public face: the names that `pgregistry` and `pgregistry.testing` export, and nothing else."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

import pgregistry
import pgregistry.testing

NAMES = {
    *("DOMAIN", "FULL", "HOST", "REST", "WORLD", "Axis", "Mode", "Setting", "Split"),
    *("BuildError", "ConfigError", "PgregistryError", "PlanMismatch", "PluginError"),
    *("Diagnosis", "GroupHandle", "Groups", "Mesh", "ParallelContext", "Plan", "PlannedMode"),
    *("__version__", "current", "debug_handler", "diagnose", "hookimpl", "init", "plan", "plan_modes"),
}


def public_names(module: ModuleType) -> set[str]:
    """Return the names that a module defines or imports for its users: no modules, none with an underscore."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and not inspect.ismodule(getattr(module, name)) and name not in ("annotations",)
    }


def test_pgregistry_exports_these_names() -> None:
    assert set(pgregistry.__all__) == NAMES
    assert len(pgregistry.__all__) == len(NAMES)


@pytest.mark.parametrize("module", [pgregistry, pgregistry.testing], ids=lambda module: module.__name__)
def test_every_exported_name_is_there_and_every_name_that_is_there_is_exported(module: ModuleType) -> None:
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert public_names(module) - {"Any", "TYPE_CHECKING"} <= set(module.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert pgregistry.__version__ == version("pgregistry")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'pgregistry' has no attribute 'plann'$"):
        _ = pgregistry.plann


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_no_module_hides_a_function_of_its_name() -> None:
    code = "import importlib, pkgutil, pgregistry\n"
    code += "modules = {one.name for one in pkgutil.iter_modules(pgregistry.__path__)}\n"
    code += "[importlib.import_module(f'pgregistry.{name}') for name in modules - {'__main__'}]\n"
    code += "print(modules & set(pgregistry.__all__), callable(pgregistry.plan), callable(pgregistry.init))\n"
    assert run(code) == "set() True True\n"


@pytest.mark.parametrize(
    "statement",
    [
        "import pgregistry",
        "from pgregistry import Groups, Mesh, Plan, PlannedMode, plan; plan(8, tensor=2)",
        "from pgregistry import PgregistryError, hookimpl, __version__",
        "from pgregistry import GroupHandle, ParallelContext, init",
        "from pgregistry import *",
    ],
)
def test_a_name_for_an_annotation_imports_no_torch(statement: str) -> None:
    assert run(f"import sys\n{statement}\nprint('torch' in sys.modules)") == "False\n"
