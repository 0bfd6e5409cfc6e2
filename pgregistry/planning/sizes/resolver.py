"""The sizes of all axes and parts, each with its origin."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from pgregistry.errors import ConfigError, PluginError, listing
from pgregistry.layouts.factors import divisors
from pgregistry.layouts.hosts import Hosts
from pgregistry.planning.declarations import Declarations
from pgregistry.planning.references import label
from pgregistry.settings.merge import DEFAULT, LEFT, ConfigValue, Settings, Sizes
from pgregistry.vocabulary import FULL, REST, WORLD, Part, Reference, Special, Split


class Resolver:
    """Computes each size when it is first needed, because sizes refer to one another.

    Args:
        positions: How many ranks the plan lives on.
        declarations: The axes and splits.
        settings: The sizes that are given.
        hosts: The hosts, for parts that are cut at a level.
        axes: The sizes of axes, if they are known.
        cut: Returns the size of a part that is cut at a level. None before axes are nested.
    """

    def __init__(
        self,
        positions: int,
        declarations: Declarations,
        settings: Settings,
        hosts: Hosts,
        *,
        axes: Sizes | None = None,
        cut: Callable[[Part], int] | None = None,
    ) -> None:
        self.hosts = hosts
        self._world_size = positions
        self._declarations = declarations
        self._settings = settings
        self._cut = cut
        self._known: dict[str, ConfigValue[int]] = dict(axes or {})
        self._pending: list[str] = []
        self._broken: PluginError | None = None

    def axes(self) -> Sizes:
        """Return the size of every axis.

        Raises:
            ConfigError: if sizes do not fit the world, with the sizes that would.
            PluginError: if sizes depend on each other in a cycle, or on a split at a level.
        """
        sizes = {name: self.size(name) for name in sorted(self._declarations.axes)}
        large, exactly = _large(sizes), any(axis.size is REST for axis in self._declarations.axes.values())
        if not _fits(_product(large), self._world_size, exactly):
            text = _does_not_fit(large, self._world_size, exactly)
            raise ConfigError(text + _hint(large, self._world_size, exactly))
        return sizes

    def size(self, name: str) -> ConfigValue[int]:
        """Return the size of one name. Whether a split can be cut there depends on the nesting order: `Mesh` knows."""
        if given := self._settings.sizes.get(name):
            return given
        if name not in self._known:
            if self._broken or name in self._pending:
                self._broken = self._broken or self._cycle(name)
                raise self._broken
            self._pending.append(name)
            try:
                if axis := self._declarations.axes.get(name):
                    self._known[name] = self._default(axis.size, lambda: self._rest(name))
                else:
                    self._known[name] = self._part(self._declarations.parts[name])
            finally:
                self._pending.pop()
        return self._known[name]

    def level(self, split: Split, *, ragged: bool = False) -> Special | None:
        """Return HOST or DOMAIN if a split is cut there, and at no number; a ragged one is cut at a number from there.

        Args:
            split: The split.
            ragged: Whether to return the level of a ragged split too.
        """
        size, names = self._declarations.default_size(split), {split.inner.name, split.outer.name}
        if not isinstance(size, Special) or size is FULL or names & self._settings.sizes.keys():
            return None
        return size if ragged or not split.ragged else None

    def _cycle(self, name: str) -> PluginError:
        rest = [name for name, axis in self._declarations.axes.items() if axis.size is REST]
        if len(rest) > 1:
            names = listing(map(repr, rest))
            return PluginError(f"More than one axis takes what is left: {names}. Set the size of all but one.")
        cycle = " needs ".join([*self._pending[self._pending.index(name) :], name])
        return PluginError(f"Sizes depend on each other in a cycle: {cycle}. Set one of them.")

    def _default(self, size: int | str | Special, all_of_it: Callable[[], int]) -> ConfigValue[int]:
        if isinstance(size, str):
            return ConfigValue(self.size(size).value, f"size of {size}")
        if isinstance(size, Special):
            return ConfigValue(all_of_it(), LEFT if size is REST else DEFAULT)
        return ConfigValue(size, DEFAULT)

    def _rest(self, name: str) -> int:
        others = {other: self.size(other) for other in sorted(self._declarations.axes) if other != name}
        if self._world_size % _product(others):
            taken = _large(others)
            left = f"\n  {name} takes what is left"
            raise ConfigError(_does_not_fit(taken, self._world_size) + left + _hint(taken, self._world_size))
        return self._world_size // _product(others)

    def _part(self, part: Part) -> ConfigValue[int]:
        by_default = part.side == "inner" or part.other.name is None
        if not by_default or part.other.name in self._settings.sizes:
            return ConfigValue(self._beside(part), LEFT)
        size = self._declarations.default_size(part.split)
        if isinstance(size, Special) and size is not FULL:
            return self._at_level(part, size)
        return self._default(size, lambda: self._whole(part.split.of))

    def _at_level(self, part: Part, level: Special) -> ConfigValue[int]:
        name, ragged = label(part), part.split.ragged
        share, origin = self.hosts.share(level, name, ragged=ragged)
        if ragged:
            return ConfigValue(share if part.side == "inner" else -(-self._world_size // share), origin)
        if self._cut is None:
            needs = " needs ".join(self._pending)
            rule = f"is cut at {level!r} when axes are nested, so no axis can take its size from it"
            raise PluginError(f"{needs}, but {name} {rule}. Set {listing(self._pending, 'or')} to a number.")
        return ConfigValue(self._cut(part), origin)

    def _beside(self, part: Part) -> int:
        """Return what the other part leaves; a ragged end counts as one."""
        return -(-self._whole(part.split.of) // self.size(label(part.other)).value)

    def _whole(self, of: tuple[Reference, ...]) -> int:
        return prod(self._of(reference) for reference in of)

    def _of(self, reference: Reference) -> int:
        found = self._declarations.find(reference)
        if found is WORLD:
            return self._world_size
        if isinstance(found, Part) and found.name is None:
            return self._beside(found)
        return self.size(label(found)).value


def _product(sizes: Sizes) -> int:
    return prod(size.value for size in sizes.values())


def _large(sizes: Sizes) -> Sizes:
    """Return the sizes above 1, or all if there are none."""
    return {name: size for name, size in sizes.items() if size.value > 1} or sizes


def _fits(product: int, world_size: int, exactly: bool) -> bool:
    return product == world_size if exactly else world_size % product == 0


def _does_not_fit(sizes: Sizes, world_size: int, exactly: bool = False) -> str:
    """Return `pipe × tensor = 2 × 5 = 10 does not divide world size 8.`, and a line for each size with its origin."""
    terms = [" × ".join(sizes), " × ".join(str(size.value) for size in sizes.values()), str(_product(sizes))]
    verb = "is not" if exactly else "does not divide"
    origins = (f"\n  {name} = {size.value} ({size.origin})" for name, size in sizes.items())
    return f"{' = '.join(dict.fromkeys(terms))} {verb} world size {world_size}.{''.join(origins)}"


def _hint(sizes: Sizes, world_size: int, exactly: bool = False) -> str:
    """Return the sizes that would fit beside the others, or the products that would."""
    product, choices, hints = _product(sizes), divisors(world_size), []
    for name, size in sizes.items():
        if valid := [choice for choice in choices if _fits(choice * (product // size.value), world_size, exactly)]:
            hints.append(f"{name} could be {listing(valid, 'or')}")
    if hints:
        return f"\n  {'; '.join(hints)}."
    return f"\n  Each must divide {world_size}, and so must their product: {listing(choices, 'or')}."
