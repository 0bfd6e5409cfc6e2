"""Private calls into torch's debug server: the flight records of all ranks, which a page of it asks for.

The page runs in a process of its own, beside rank 0. Without `available()` there is no such server.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any, Final, NamedTuple

#: The module of torch with what a page needs.
_FRONTEND: Final = "torch.distributed.debug._frontend"
#: The pages of each rank's server that have its records: of all backends, and before torch 2.15 of NCCL.
_PAGES: Final = ("fr_trace_json", "dump_nccl_trace_json")
#: Seconds in which a rank must answer.
PATIENCE: Final = 5.0


class Route(NamedTuple):
    """A page of the debug server, and what makes it."""

    path: str
    handler: Any


class NavLink(NamedTuple):
    """A link that every page has at its top."""

    path: str
    label: str


def available() -> bool:
    """Return True if this torch has a debug server that takes pages."""
    try:
        return importlib.util.find_spec(_FRONTEND) is not None
    except ImportError:
        return False


def fetch_records(timeout: float) -> tuple[dict[int, list[dict[str, Any]]], dict[int, str]]:
    """Return the records of each rank that answers, one a recorder, and of each other rank why it does not.

    Args:
        timeout: Seconds in which a rank must answer, at most `PATIENCE`.
    """
    frontend = importlib.import_module(_FRONTEND)
    found, silent = dict[int, list[dict[str, Any]]](), dict[int, str]()
    for page in _PAGES:
        _, answers = frontend.fetch_all(page, timeout=min(timeout, PATIENCE))
        for rank, answer in enumerate(answers):
            tables = _tables(answer)
            if tables is not None:
                found.setdefault(rank, []).append(tables)
            elif page == _PAGES[0]:
                silent[rank] = str(answer.text)
    return found, {rank: why for rank, why in silent.items() if rank not in found}


def _tables(answer: Any) -> dict[str, Any] | None:
    if answer.status_code != 200:
        return None
    try:
        tables = json.loads(answer.text)
    except ValueError:
        return None
    return tables if isinstance(tables, dict) else None
