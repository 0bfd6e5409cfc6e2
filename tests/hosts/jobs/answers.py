"""Answers of the ranks of a test: a file each, in the folder that all hosts see."""

import json
import os
import time
from pathlib import Path
from typing import Any


def answer(**values: Any) -> None:
    """Leave an answer of this rank for the test; one of a later attempt replaces it."""
    rank = os.environ["RANK"]
    Path(f"{rank}.part").write_text(json.dumps(values), encoding="utf-8")
    Path(f"{rank}.part").rename(f"answer{rank}.json")


def pause(name: str) -> None:
    """Say that this rank is at a moment, and stay there until the test lets all go on."""
    Path(f"{name}{os.environ['RANK']}").touch()
    until = time.monotonic() + 60
    while not Path(f"{name}-go").exists():
        if time.monotonic() > until:
            raise TimeoutError(f"The test did not say {name}-go.")
        time.sleep(0.01)
