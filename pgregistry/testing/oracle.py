"""Groups by brute force: compute the coordinates of every rank and apply the rule of groups to the letter.

It shares no code with the closed forms of the plan. It is slow: quadratic in the world at worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TypeAlias

from pgregistry.planning.plans.plan import Plan
from pgregistry.vocabulary import WORLD, Axis, Mode, Part, Reference, Special

Known: TypeAlias = "Axis | Part | Special"


class Oracle:
    """A group is the set of ranks that agree on everything except what the mode is over.

    Args:
        plan: Gives the world size, the sizes and the order of axes. Its groups are not read.
        sized: All axes and named parts, by name.
    """

    def __init__(self, plan: Plan, sized: Mapping[str, Axis | Part]) -> None:
        self._plan = plan
        self._sized = sized
        self._coordinates: dict[Known, list[int]] = {}

    def groups(self, mode: Mode) -> list[tuple[int, ...]]:
        """Return the groups of a mode over axes and parts, ascending by first rank."""
        groups = self._agreeing(mode.over or ())
        for name, position in mode.where.items():
            item, size = self._sized[name], self._plan.sizes[name]
            along = self._digit(name) if isinstance(item, Axis) else self._coordinate(item)
            there = position + size if position < 0 else position
            groups = [group for group in groups if along[group[0]] == there]
        if mode.at is not None:
            kept = ([group[place] for place in mode.at if -len(group) <= place < len(group)] for group in groups)
            groups = [tuple(sorted({*ranks})) for ranks in kept if ranks]
        return sorted(groups)

    def _agreeing(self, over: Iterable[Reference]) -> list[tuple[int, ...]]:
        """Group the ranks that agree on everything except these."""
        free = set(self._items(over))
        held = [self._coordinate(part.other) for part in free if isinstance(part, Part) and part.other not in free]
        if WORLD not in free:
            held += [self._digit(name) for name in self._plan.order if self._sized[name] not in free]
            held.append(self._digit(None))
        together: dict[tuple[int, ...], list[int]] = {}
        for rank in range(self._plan.world_size):
            together.setdefault(tuple(coordinate[rank] for coordinate in held), []).append(rank)
        return [tuple(ranks) for ranks in together.values()]

    def _items(self, references: Iterable[Reference]) -> Iterator[Known]:
        """Yield references and the items that they are parts of."""
        for reference in references:
            found = self._sized[reference] if isinstance(reference, str) else reference
            yield found
            if isinstance(found, Part):
                yield from self._items(found.split.of)

    def _digit(self, axis: str | None) -> list[int]:
        """Return the position of every rank along an axis; None is the outermost factor, which the axes leave."""
        order, sizes = self._plan.order, self._plan.sizes
        below = prod(sizes[name] for name in (order[order.index(axis) + 1 :] if axis else order))
        size = sizes[axis] if axis else self._plan.world_size
        return [rank // below % size for rank in range(self._plan.world_size)]

    def _coordinate(self, part: Part) -> list[int]:
        """Return the position of every rank along a part, among the ranks that are split, in ascending order."""
        if part not in self._coordinates:
            coordinate = [0] * self._plan.world_size
            for ranks in self._agreeing(part.split.of):
                inner = self._inner(part, len(ranks))
                for position, rank in enumerate(ranks):
                    coordinate[rank] = position % inner if part.side == "inner" else position // inner
            self._coordinates[part] = coordinate
        return self._coordinates[part]

    def _inner(self, part: Part, whole: int) -> int:
        inner, outer = part.split.inner.name, part.split.outer.name
        return self._plan.sizes[inner] if inner else -(-whole // self._plan.sizes[outer or ""])
