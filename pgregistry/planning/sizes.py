"""The sizes of all axes and parts, each with its origin."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from pgregistry.errors import ConfigError, PluginError, listing
from pgregistry.layouts.layout import divisors
from pgregistry.planning.declarations import Declarations
from pgregistry.planning.references import label
from pgregistry.settings.merge import DEFAULT, LEFT, ConfigValue, Settings, Sizes
from pgregistry.vocabulary import HOST, REST, WORLD, Part, Reference, Special


def resolve(world_size: int, declarations: Declarations, settings: Settings) -> dict[str, ConfigValue[int]]:
    """Return the size of every axis and named part.

    `Mesh` checks whether a split can be cut at its size, since that depends on the nesting order.

    Raises:
        ConfigError: if sizes do not fit the world, with the sizes that would.
        PluginError: if sizes depend on each other in a cycle.
    """
    resolver = _Resolver(world_size, declarations, settings)
    sizes = {name: resolver.size(name) for name in declarations.size_names()}
    axes = _large({name: sizes[name] for name in sorted(declarations.axes)})
    exactly = any(axis.size is REST for axis in declarations.axes.values())
    if not _fits(_product(axes), world_size, exactly):
        raise ConfigError(_does_not_fit(axes, world_size, exactly) + _hint(axes, world_size, exactly))
    return sizes


class _Resolver:
    """Computes each size when it is first needed, because sizes refer to one another."""

    def __init__(self, world_size: int, declarations: Declarations, settings: Settings) -> None:
        self._world_size = world_size
        self._declarations = declarations
        self._settings = settings
        self._known: dict[str, ConfigValue[int]] = {}
        self._pending: list[str] = []

    def size(self, name: str) -> ConfigValue[int]:
        """Return the size of one name."""
        if given := self._settings.sizes.get(name):
            return given
        if name not in self._known:
            if name in self._pending:
                raise self._cycle(name)
            self._pending.append(name)
            if axis := self._declarations.axes.get(name):
                self._known[name] = self._default(axis.size, lambda: self._rest(name))
            else:
                self._known[name] = self._part(self._declarations.parts[name])
            self._pending.pop()
        return self._known[name]

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
        if size is HOST:
            host = self._settings.host_size()
            return ConfigValue(host.value, f"ranks_per_host, {host.origin}")
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
        if by_default and part.other.name not in self._settings.sizes:
            return self._default(part.split.size, lambda: self._whole(part.split.of))
        return ConfigValue(self._beside(part), LEFT)

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
