"""What the ranks of each group saw, as one measurement a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from pgregistry.errors import listing
from pgregistry_nettest.collectives import count, shown
from pgregistry_nettest.report import Measurement


def combine(
    said: Mapping[int, Sequence[Mapping[str, Any]]], groups: Sequence[Sequence[int]], number: int
) -> list[Measurement]:
    """One measurement for each group, collective and size; groups with a rank that said nothing are left out.

    A group is as slow as its slowest rank: in a broadcast only receivers see how long it takes.

    Args:
        said: For each rank its samples.
        groups: As ranks.
        number: Of the round.
    """
    measured = []
    for group in groups:
        if not all(rank in said for rank in group):
            continue
        samples: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        for rank in group:
            for one in said[rank]:
                samples.setdefault((one["op"], one["size"]), []).append(one)
        for (op, size), ones in samples.items():
            errors = [one["error"] for one in ones if one["error"]]
            if not errors and len(ones) < len(group):
                continue  # another collective had failed before, on some of them
            times = [one["seconds"] for one in ones if one["seconds"] is not None]
            measured.append(
                Measurement(
                    round=number,
                    op=op,
                    size=size,
                    count=count(op, size, len(group)),
                    ranks=tuple(group),
                    seconds=None if errors else max(times),
                    spread=0.0 if errors else median(one["spread"] for one in ones),
                    error=errors[0] if errors else None,
                )
            )
    return measured


def failed_everywhere(measured: Sequence[Measurement], backend: str) -> str | None:
    """What to say where a collective failed in all groups: that is no slow host; None where there is none."""
    for op in dict.fromkeys(one.op for one in measured):
        ones = [one for one in measured if one.op == op]
        if all(one.error for one in ones):
            good = sorted({one.op for one in measured if not one.error})
            instead = f" {listing(good)} did not." if good else ""
            sizes = listing(dict.fromkeys(shown(one.size) for one in ones))
            return f"{op} of {sizes} failed in every group on {backend}: {ones[0].error}.{instead}"
    return None
