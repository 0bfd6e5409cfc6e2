"""Private calls into torch's flight recorder: the counters of process groups, and what is pending on this rank.

Without `available()` there is no record of this rank, and all that can be known of it is its Python stacks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any, Final

import torch
import torch.distributed as dist
from packaging.version import Version
from torch._C import _distributed_c10d as recorders
from torch.distributed import distributed_c10d as c10d

#: torch's functions: of all backends, and before torch 2.15 of NCCL, which has a recorder of its own.
_DUMPS: Final = ("_dump_fr_trace_json", "_dump_nccl_trace_json")
#: The oldest torch whose records of gloo were seen.
_GLOO: Final = Version("2.13.dev0")
#: The variable that sets how many operations are recorded.
SIZE: Final = "TORCH_FR_BUFFER_SIZE"


def available() -> bool:
    """Return True if torch records operations in this process."""
    return bool(_recorders()) and os.environ.get(SIZE, "").strip() != "0"


def records_gloo() -> bool:
    """Return True if torch records operations of gloo, as it is known to do from 2.13 on; 2.9 does not."""
    return Version(torch.__version__) >= _GLOO


def counters() -> dict[Hashable, tuple[int, int]]:
    """Return the last operation that each process group has enqueued, and the last that it has completed.

    The name of a process group here is its recorder and torch's number in it.

    It takes 0.01 to 0.1 ms; process groups without an operation are left out.
    """
    found: dict[Hashable, tuple[int, int]] = {}
    for name, dump in _recorders():
        for number, one in (_tables(dump, False).get("pg_status") or {}).items():
            try:
                enqueued, completed = int(one["last_enqueued_collective"]), int(one["last_completed_collective"])
                found[name, int(number)] = enqueued, completed
            except (KeyError, TypeError, ValueError):
                continue
    return found


def records() -> dict[str, dict[str, Any]]:
    """Return the tables of each recorder, with all operations. With 2,000 of them it holds the GIL for about 50 ms."""
    return {name: _tables(dump, True) for name, dump in _recorders()}


def members(name: str) -> tuple[int, ...]:
    """Return the global ranks of a process group of this rank, in its order; empty if torch has none of this name."""
    world = getattr(c10d, "_world", None)
    names, ranks = getattr(world, "pg_names", {}), getattr(world, "pg_group_ranks", {})
    group = next((group for group, known in tuple(names.items()) if known == name), None)
    return tuple(ranks.get(group, ()))


def point_to_point(frame: FrameType) -> dict[str, Any] | None:
    """Return the send or recv that a thread stands in, by its innermost frame, as a flight record would have it.

    gloo before torch 2.15 records none. One that waits for a batch, or for a work of its own, is not seen.
    """
    operation, given = frame.f_code.co_name, frame.f_locals
    if operation not in ("send", "recv") or frame.f_code.co_filename != c10d.__file__:
        return None
    try:
        group: Any = given.get("group") or dist.group.WORLD
        side = "dst" if operation == "send" else "src"
        peer = given.get(f"group_{side}")
        if peer is None and given.get(side) is not None:
            peer = dist.get_group_rank(group, given[side])
        path = "" if peer is None else f" {dist.get_rank(group)}{'->' if operation == 'send' else '<-'}{peer}"
        sizes = [list(given[frame.f_code.co_varnames[0]].shape)]  # its first parameter
        return {
            "process_group": [group.group_name, group.group_desc],
            "profiling_name": f"{dist.get_backend(group)}:{operation}{path}",
            "collective_seq_id": 0,
            "p2p_seq_id": 0,
            "is_p2p": True,
            "input_sizes": sizes if operation == "send" else [],
            "output_sizes": sizes if operation == "recv" else [],
            "state": "scheduled",
            "retired": False,
        }
    except Exception:  # a process group that is gone, or locals of another torch
        return None


def _recorders() -> list[tuple[str, Callable[..., bytes]]]:
    return [(name, dump) for name in _DUMPS if callable(dump := getattr(recorders, name, None))]


def _tables(dump: Callable[..., bytes], entries: bool) -> dict[str, Any]:
    try:
        tables = json.loads(dump(entries, False))
    except (RuntimeError, TypeError, ValueError):  # of another torch
        return {}
    return tables if isinstance(tables, dict) else {}
