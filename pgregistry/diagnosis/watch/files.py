"""The folder of the watch: the record of each rank, and the plan, as files that `pgregistry diagnose` reads."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pgregistry.planning.plans.plan import Plan


class Folder:
    """The folder in which a rank keeps its records.

    Args:
        path: The folder.
        plan: The plan of the run.
        log: Where a failure is logged, once.
    """

    def __init__(self, path: str, plan: Plan, log: logging.Logger) -> None:
        self._path, self._plan, self._log = Path(path), plan, log
        self._failed = False

    def prepare(self, rank: int) -> None:
        """Make the folder, so that one that cannot be written to is known before anything is stuck."""
        with self._logging(rank):
            self._path.mkdir(parents=True, exist_ok=True)
            if not os.access(self._path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))

    def keep(self, rank: int, record: dict[str, Any]) -> None:
        """Write the record of a rank, in the place of an earlier one; the first rank of the plan writes that too."""
        with self._logging(rank):
            self._path.mkdir(parents=True, exist_ok=True)
            self._write(f"rank_{rank}.json", json.dumps(record))
            if rank == (self._plan.ranks or (0,))[0]:
                self._write("plan.json", self._plan.to_json())
            self._failed = False  # if it fails again, that is news

    @contextmanager
    def _logging(self, rank: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                self._log.warning("rank %d cannot keep its record in watch_dir = %s: %s", rank, self._path, error)

    def _write(self, name: str, text: str) -> None:
        new = self._path / f".{name}.new"
        try:
            new.write_text(text, encoding="utf-8")
            new.replace(self._path / name)
        except OSError:  # such as a disk that is full
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
