"""The layout of a mode over the world: the factors that vary in its groups, and those that are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgregistry.layouts.factors import Factor, Factors, Positions, pin, whole


@dataclass(frozen=True, slots=True)
class Ragged:
    """A digit of `whole` positions in runs of `size`, the last of which is short.

    A group has the positions of one run if `side` is "inner", and one position of each run if it
    is "outer".
    """

    whole: int
    size: int
    stride: int
    side: str

    @property
    def fixed_stride(self) -> int:
        """Return how far apart the groups start that this digit makes."""
        return self.size * self.stride if self.side == "inner" else self.stride

    @property
    def runs(self) -> tuple[Factor, Factor]:
        """Return the groups of this digit as (how many, length), the longer ones first."""
        full, rest = divmod(self.whole, self.size)
        if self.side == "inner":
            return (full, self.size), (1, rest)
        return (rest, full + 1), (self.size - rest, full)

    def digits(self, rank: int) -> tuple[int, int]:
        """Return the two digits of a rank: the one that is fixed in its group, and the one that varies."""
        run, position = divmod(rank // self.stride % self.whole, self.size)
        return (run, position) if self.side == "inner" else (position, run)

    def free(self, fixed: int) -> Factor:
        """Return the factor that varies in the group with index `fixed`."""
        if self.side == "inner":
            return min(self.size, self.whole - fixed * self.size), self.stride
        return -(-(self.whole - fixed) // self.size), self.size * self.stride


@dataclass(frozen=True, slots=True)
class Layout:
    """All groups of one mode, as numbers that do not grow with the world.

    Args:
        world: How many positions there are.
        factors: The factors that vary inside a group, in canonical form, without the ragged one.
        ragged: The factor that varies in runs of which the last is short, if there is one.
        at: The positions that each group keeps; None for all.
        where: The positions outside of the groups that all groups are at, as `pin` returns them.
    """

    world: int
    factors: Factors
    ragged: Ragged | None = None
    at: tuple[int, ...] | None = None
    where: Positions = ()

    def has(self, rank: int) -> bool:
        """Return True if a rank is in the world, and at the positions of `where`."""
        return 0 <= rank < self.world and all(rank // stride % size == place for size, stride, place in self.where)

    def free(self, fixed: int = 0) -> Factors:
        """Return the factors that vary in a group, outermost first, the ragged one at the length of run `fixed`."""
        if self.ragged is None:
            return self.factors
        return tuple(sorted((*self.factors, self.ragged.free(fixed)), key=lambda factor: -factor[1]))

    def fixed(self, runs: int = 1) -> Factors:
        """Return the digits that are the same inside a group, outermost first, the ragged one with `runs` values."""
        ragged, held, above = self.ragged, list[Factor](), self.world
        taken = [*self.factors, *((size, stride) for size, stride, _ in self.where)]
        taken += [(ragged.whole, ragged.stride)] if ragged else []
        for size, stride in sorted(taken, key=lambda factor: -factor[1]):
            held.append((above // (size * stride), size * stride))
            if ragged and stride == ragged.stride:
                held.append((runs, ragged.fixed_stride))
            above = stride
        return tuple((size, stride) for size, stride in (*held, (above, 1)) if size != 1)

    def kept(self, size: int) -> Sequence[int]:
        """Return the positions that a group of this size keeps, ascending."""
        if self.at is None:
            return range(size)
        return sorted({position % size for position in self.at if -size <= position < size})

    def key(self) -> tuple[object, ...]:
        """Return a tuple for fingerprints. Equal keys are of equal groups.

        Positions out of range and doubles in `at` do not change the key, nor does their order.

        >>> Layout(8, ((4, 1),), at=(0, -1, 9)).key() == Layout(8, ((4, 1),), at=(3, 0)).key()
        True
        """
        ragged, at, factors, where = None, self.at, self.factors, self.where
        if self.ragged is not None:
            ragged = (self.ragged.whole, self.ragged.size, self.ragged.stride, self.ragged.side)
            longest = whole(self.factors) * max(length for count, length in self.ragged.runs if count)
            at = None if at is None else tuple(sorted({place for place in at if -longest <= place < longest}))
        elif at is not None:
            size = whole(self.factors)
            kept = tuple(self.kept(size))
            at = None if len(kept) == size else kept
            if len(kept) == 1:  # each rank alone, at one more position
                pinned = [(((size, stride),), position) for size, stride, position in where]
                at, factors, where = None, (), pin([*pinned, (factors, kept[0])])
        return (self.world, factors, ragged, at, *([where] if where else []))
