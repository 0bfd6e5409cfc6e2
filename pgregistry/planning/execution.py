"""The order in which modes are planned and built: the same on every rank, whatever is installed how."""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Iterable, Mapping

from pgregistry.errors import PluginError


def execution_order(uses: Mapping[str, Iterable[str]], after: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Modes, each after those that it uses and those it says it comes after; smallest names first.

    >>> execution_order({"model": {"pipe", "tensor"}, "pipe": (), "tensor": ()}, {"pipe": ["zero1", "tensor"]})
    ('tensor', 'pipe', 'model')

    Args:
        uses: For each mode the modes that declare what it is over, itself included or not.
        after: For each mode those in its `after`; absent ones count as met.

    Raises:
        PluginError: showing the cycle, if there is one.
    """
    before = {name: sorted(({*used} - {name}) | ({*after.get(name, ())} & uses.keys())) for name, used in uses.items()}
    sorter = graphlib.TopologicalSorter(before)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        cycle = " after ".join(map(repr, reversed(error.args[1])))
        raise PluginError(f"Modes come after one another in a cycle: {cycle}.") from None
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, name)
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
    return tuple(order)
