"""Make plans in another process: with another hash seed, discovery order or rank, and noting who imports torch."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import pgregistry
from pgregistry.errors import PgregistryError
from pgregistry.planning.planner import Planner
from pgregistry.registry import discovery
from pgregistry.registry.distributions import distributions, visible

#: The folders of pgregistry and of importlib, whose frames are not shown.
NOT_SHOWN: Final = (Path(pgregistry.__file__).parent, Path(importlib.metadata.__file__).parents[1])

START: Final = """
import json, sys
task = json.load(sys.stdin)
sys.path[:] = task["path"]
from pgregistry.testing.subprocess_plans import make_plans
print(json.dumps(make_plans(task["cases"], task["backwards"])))
"""


#: Each plan as JSON or the text of its error, and the lines that led to an import of torch, outermost first.
Answer: TypeAlias = tuple[list[dict[str, str]], list[str]]


def plan_in_subprocess(
    cases: Iterable[tuple[int, Mapping[str, Any]]], *, hash_seed: int, rank: int, backwards: bool
) -> Answer:
    """Make plans in a new process.

    Args:
        cases: World sizes and keywords of `plan`.
        hash_seed: The value of PYTHONHASHSEED, which changes the order of sets.
        rank: The rank in the launcher's variables, which no plan may depend on.
        backwards: Find distributions in the opposite order.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PGREGISTRY")}
    environ |= {"PYTHONHASHSEED": str(hash_seed), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "8"}
    asked = list(cases)
    task = {"path": [os.path.abspath(entry) for entry in sys.path], "cases": asked, "backwards": backwards}
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, input=json.dumps(task), env=environ, capture_output=True, text=True, timeout=300)
    if done.returncode:
        text = f"the process that makes the plans ended with {done.returncode}\n{done.stderr.strip()}"
        return [{"error": text}] * len(asked), []
    plans, torch = json.loads(done.stdout.splitlines()[-1])
    return plans, torch


def make_plans(cases: Iterable[tuple[int, Mapping[str, Any]]], backwards: bool) -> Answer:
    """Make the plans that `plan_in_subprocess` asked for; this runs in the new process."""
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    if backwards:
        found = list(visible(distributions()))
        vars(discovery)["distributions"] = lambda: iter(found[::-1])
    plans = []
    for world, keywords in cases:
        try:
            plans.append({"plan": Planner.read(world, keywords, environ={}).plan().to_json()})
        except PgregistryError as error:
            plans.append({"error": f"{type(error).__name__}: {error}"})
    return plans, watch.torch


class _Watch:
    """An import hook that notes who imports torch and lets the import happen."""

    def __init__(self) -> None:
        self.torch: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Note an import of torch, and leave the search to the next finder."""
        if name == "torch" and not self.torch:
            theirs = [frame for frame in traceback.extract_stack()[:-1] if _is_shown(frame.filename)]
            lines = [f"{frame.filename}:{frame.lineno}: {frame.line}" for frame in theirs]
            self.torch = lines or ["the line is not known"]


def _is_shown(file: str) -> bool:
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in NOT_SHOWN)
