"""Small flight records, as torch writes them."""

from __future__ import annotations

from typing import Any


def entry(name: str = "gloo:all_reduce", sequence: int = 1, **values: Any) -> dict[str, Any]:
    """One entry of gloo, pending."""
    return {
        "record_id": 0,
        "pg_id": 0,
        "process_group": ("0", "default_pg"),
        "collective_seq_id": sequence,
        "p2p_seq_id": 0,
        "op_id": sequence,
        "profiling_name": name,
        "time_created_ns": 1_795_982_008_231_563_842,
        "input_sizes": [[4]],
        "input_dtypes": ["Float"],
        "output_sizes": [[4]],
        "output_dtypes": ["Float"],
        "state": "scheduled",
        "retired": False,
        "timeout_ms": 300_000,
        "is_p2p": False,
        **values,
    }


def record(*entries: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The record of one rank."""
    numbered = [{**one, "record_id": number} for number, one in enumerate(entries)]
    no_group = {"": {"name": "", "desc": "", "ranks": "[]"}}  # what gloo of torch 2.13 writes
    return {"version": "2.10", "pg_config": no_group, "pg_status": {}, "entries": numbered, **values}


def stuck(world: int = 4, culprit: int = 3) -> dict[int, dict[str, Any]]:
    """All ranks but one wait in the second all_reduce of the default process group."""
    done = entry(retired=True)
    return {rank: record(done, *[entry(sequence=2)] * (rank != culprit)) for rank in range(world)}
