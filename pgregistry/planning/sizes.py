"""How large every axis and part is, and where each size comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from pgregistry.errors import ConfigError, PgregistryError, PluginError, Problems, listing
from pgregistry.layouts.layout import divisors
from pgregistry.planning.declarations import Declarations, label
from pgregistry.settings.merge import DEFAULT, LEFT, ConfigValue, Settings
from pgregistry.vocabulary import HOST, REST, WORLD, Part, Reference, Special


def resolve(
    world_size: int, declarations: Declarations, settings: Settings, problems: Problems
) -> dict[str, ConfigValue[int]]:
    """The size of every axis and named part; raises what does not fit, with the sizes that would.

    Whether a split can be cut at its size depends on where the axes lie, so `Mesh` checks it.
    """
    resolver = _Resolver(world_size, declarations, settings)
    try:
        sizes = {name: resolver.size(name) for name in declarations.sized()}
    except PgregistryError as error:
        problems.add(error)
        problems.raise_any()
        raise
    _check_world(world_size, declarations, sizes, problems)
    problems.raise_any()
    return sizes


class _Resolver:
    """Sizes refer to one another, so each is worked out when it is first needed."""

    def __init__(self, world_size: int, declarations: Declarations, settings: Settings) -> None:
        self._world_size = world_size
        self._declarations = declarations
        self._settings = settings
        self._known: dict[str, ConfigValue[int]] = {}
        self._asking: list[str] = []

    def size(self, name: str) -> ConfigValue[int]:
        """The size of one name."""
        if given := self._settings.sizes.get(name):
            return given
        if name not in self._known:
            if name in self._asking:
                cycle = " needs ".join([*self._asking[self._asking.index(name) :], name])
                rest = [name for name, axis in self._declarations.axes.items() if axis.size is REST]
                if len(rest) > 1:
                    names = listing(map(repr, rest))
                    raise PluginError(f"More than one axis takes what is left: {names}. Set the size of all but one.")
                raise PluginError(f"Sizes depend on each other in a cycle: {cycle}. Set one of them.")
            self._asking.append(name)
            if axis := self._declarations.axes.get(name):
                self._known[name] = self._default(axis.size, lambda: self._rest(name))
            else:
                self._known[name] = self._part(self._declarations.parts[name])
            self._asking.pop()
        return self._known[name]

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
        others = {other: self.size(other).value for other in sorted(self._declarations.axes) if other != name}
        product = prod(others.values())
        if self._world_size % product:
            raise ConfigError(
                _does_not_fit(
                    self._world_size,
                    {other: self.size(other) for other, size in others.items() if size > 1},
                    "does not divide",
                    f"\n  {name} takes what is left",
                    lambda size, rest: self._world_size % (size * rest) == 0,
                )
            )
        return self._world_size // product

    def _part(self, part: Part) -> ConfigValue[int]:
        by_default = part.side == "inner" or part.other.name is None
        if by_default and part.other.name not in self._settings.sizes:
            return self._default(part.split.size, lambda: self._whole(part.split.of))
        return ConfigValue(self._beside(part), LEFT)

    def _beside(self, part: Part) -> int:
        """What the other part leaves; a ragged end counts as one."""
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


def _check_world(
    world_size: int, declarations: Declarations, sizes: Mapping[str, ConfigValue[int]], problems: Problems
) -> None:
    axes = {name: sizes[name] for name in sorted(declarations.axes)}
    product = prod(size.value for size in axes.values())
    large = {name: size for name, size in axes.items() if size.value > 1} or axes
    if any(axis.size is REST for axis in declarations.axes.values()):
        if product != world_size:
            problems.add(
                ConfigError(
                    _does_not_fit(world_size, large, "is not", "", lambda size, rest: size * rest == world_size)
                )
            )
    elif world_size % product:
        problems.add(
            ConfigError(
                _does_not_fit(
                    world_size, large, "does not divide", "", lambda size, rest: world_size % (size * rest) == 0
                )
            )
        )


def _does_not_fit(
    world_size: int,
    sizes: Mapping[str, ConfigValue[int]],
    relation: str,
    remark: str,
    fits: Callable[[int, int], bool],
) -> str:
    """`tensor × pipe = 3 × 2 = 6 does not divide world size 16.`, the origins, and what would."""
    product = prod(size.value for size in sizes.values())
    terms = [" × ".join(sizes), " × ".join(str(size.value) for size in sizes.values()), str(product)]
    said = " = ".join(dict.fromkeys(terms))
    lines = [f"{said} {relation} world size {world_size}."]
    lines += [f"  {name} = {size.value} ({size.origin})" for name, size in sizes.items()]
    text = "\n".join(lines) + remark
    would = {name: [n for n in divisors(world_size) if fits(n, product // size.value)] for name, size in sizes.items()}
    hints = [f"{name} could be {listing(valid, 'or')}" for name, valid in would.items() if valid]
    if not hints:
        choices = listing(divisors(world_size), "or")
        return f"{text}\n  Each must divide {world_size}, and so must their product: {choices}."
    return f"{text}\n  {'; '.join(hints)}."
