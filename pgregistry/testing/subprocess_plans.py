"""Plans made in another process, with another hash seed, discovery order or rank, and without torch."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgregistry.errors import PgregistryError
from pgregistry.planning.planner import make

START: Final = """
import json, sys
task = json.load(sys.stdin)
sys.path[:] = task["path"]
from pgregistry.testing.subprocess_plans import answer
print(json.dumps(answer(task["cases"], task["backwards"])))
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What another process found: each plan as JSON or an error's text, and who imported torch, if any."""

    plans: Sequence[Mapping[str, str]]
    torch: Sequence[str]


def ask(cases: Iterable[tuple[int, Mapping[str, Any]]], *, hash_seed: int, rank: int, backwards: bool) -> Answer:
    """Make plans in a new process.

    Args:
        cases: World sizes and keywords of `plan`.
        hash_seed: The order of sets there.
        rank: The rank that a launcher's variables say, which no plan may depend on.
        backwards: Whether distributions are found in the opposite order.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PGREGISTRY")}
    environ |= {"PYTHONHASHSEED": str(hash_seed), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "8"}
    asked = list(cases)
    task = {"path": [os.path.abspath(entry) for entry in sys.path], "cases": asked, "backwards": backwards}
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, input=json.dumps(task), env=environ, capture_output=True, text=True, timeout=300)
    if done.returncode:
        text = f"the process that was to plan ended with {done.returncode}\n{done.stderr.strip()}"
        return Answer([{"error": text}] * len(asked), [])
    return Answer(**json.loads(done.stdout.splitlines()[-1]))


def answer(cases: Iterable[tuple[int, Mapping[str, Any]]], backwards: bool) -> dict[str, Any]:
    """The other side of `ask`."""
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    if backwards:
        first = {dist.name: dist for dist in reversed(list(importlib.metadata.distributions()))}
        importlib.metadata.distributions = lambda **_: iter(first.values())
    plans = []
    for world, keywords in cases:
        try:
            plans.append({"plan": make(world, keywords, environ={}).plan.to_json()})
        except PgregistryError as error:
            plans.append({"error": f"{type(error).__name__}: {error}"})
    return {"plans": plans, "torch": watch.torch}


class _Watch:
    """Notes who imports torch, and lets it happen."""

    def __init__(self) -> None:
        self.torch: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find nothing, but notice."""
        if name == "torch" and not self.torch:
            stack = traceback.extract_stack()[:-1]
            mine = [
                frame for frame in stack if "importlib" not in frame.filename and "/pgregistry/" not in frame.filename
            ]
            self.torch = [f"{frame.filename}:{frame.lineno}: {frame.line}" for frame in mine if frame.line]
