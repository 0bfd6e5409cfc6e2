"""The folder of the watch: the record of each rank, and the plan, as files that `pgregistry diagnose` reads."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from pgregistry.planning.plans.plan import Plan


class Folder:
    """The folder in which a rank keeps its records.

    Args:
        path: The folder. It is made when there is something to keep.
        plan: The plan of the run.
        log: Where a failure is logged, once.
    """

    def __init__(self, path: str, plan: Plan, log: logging.Logger) -> None:
        self._path, self._plan, self._log = Path(path), plan, log
        self._failed = False

    def keep(self, rank: int, record: dict[str, Any]) -> None:
        """Write the record of a rank, in the place of an earlier one; the first rank of the plan writes that too."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._write(f"rank_{rank}.json", json.dumps(record))
            if rank == (self._plan.ranks or (0,))[0]:
                self._write("plan.json", self._plan.to_json())
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warning("rank %d cannot keep its record in watch_dir = %s: %s", rank, self._path, error)

    def _write(self, name: str, text: str) -> None:
        new = self._path / f".{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(self._path / name)
