"""The vocabulary in which a plugin declares its modes and settings: Axis, Split, Mode and Setting.

**A group is the set of ranks that agree on everything except what the mode is over**, so a mode stays right if
another plugin adds an axis. Everything here is plain data; `plan` computes groups from all modes together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from pgregistry import values
from pgregistry.errors import PluginError
from pgregistry.values import shown


class Special(Enum):
    """A size or a reference that is neither a number nor a name."""

    WORLD = "all ranks"
    REST = "what the other axes leave"
    FULL = "all of what is split"
    HOST = "what lies inside one host"
    DOMAIN = "what lies inside one domain"

    def __repr__(self) -> str:
        return self.name


WORLD: Final = Special.WORLD
REST: Final = Special.REST
FULL: Final = Special.FULL
HOST: Final = Special.HOST
DOMAIN: Final = Special.DOMAIN

Side: TypeAlias = Literal["outer", "inner"]


@dataclass(frozen=True, slots=True, init=False)
class Axis:
    """A named factor of the world.

    `Axis("context", inside=("data", "pipe"), outside="tensor")` is nested in the data and pipe
    axes and around the tensor axis. Axes that no plugin declares count as met.

    Args:
        name: The name of the axis and of the size that a user sets (`context=2`).
        size: The default: a number, `REST` (what the other axes leave), or the name of another size.
        inside, outside: The axes that this one nests in (its ranks lie closer together), and those around which.
    """

    name: str
    size: int | str | Special
    inside: tuple[str, ...]
    outside: tuple[str, ...]

    def __init__(
        self,
        name: str,
        size: int | str | Special = 1,
        inside: str | Iterable[str] = (),
        outside: str | Iterable[str] = (),
    ) -> None:
        name, size, inside, outside = map(values.plain, (name, size, inside, outside))
        what = f"Axis({shown(name)})"
        values.check_size_name(name, what)
        values.check_default_size(size, (REST,), what)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "inside", values.check_names("inside", inside, what))
        object.__setattr__(self, "outside", values.check_names("outside", outside, what))


class Split:
    """An axis, several axes, a part or the world, seen as outer × inner.

    Inner positions are adjacent: of data positions 0 1 2 3, `Split("data", inner="zero1")` at zero1=2 makes the inner
    groups 0 1 | 2 3 and the outer ones 0 2 | 1 3. A split that is given as a part means its inner part.

    Args:
        of: An axis name, a part, `WORLD`, or a tuple of these (taken in nesting order).
        inner, outer: The names of the parts, sizes that the user can set. At least one of the two has a name. The
            attributes are both `Part`s.
        size: The default of `inner`, or of `outer` if only that has a name: a number, `FULL` (all), the name of
            another size, or `HOST` (`DOMAIN`), at which the inner part is what lies inside one host (one domain). It
            is 1 if no equal split gives another.
        ragged: Allow a short last inner group, and a size above the whole, which is one group. The parts of a ragged
            split cannot be split again.
    """

    __slots__ = ("_key", "inner", "of", "outer", "ragged", "size")

    inner: Part
    outer: Part
    of: tuple[Reference, ...]
    size: int | str | Special | None
    ragged: bool

    def __init__(
        self,
        of: OneOrMore,
        inner: str | None = None,
        outer: str | None = None,
        size: int | str | Special | None = None,
        ragged: bool = False,
    ) -> None:
        of, inner, outer, size = map(values.plain, (of, inner, outer, size))
        what = f"Split({shown(of)})"
        values.check_parts(inner, outer, what)
        values.check_default_size(1 if size is None else size, (FULL, HOST, DOMAIN), what)
        self.of = _references(of, what)
        if not self.of:
            raise PluginError(f"{what} must split something: an axis, a part or WORLD.")
        self.size = size
        self.ragged = values.check_flag("ragged", ragged, what)
        if self.ragged and size in (HOST, DOMAIN) and self.of != (WORLD,):
            raise PluginError(f"{what} has size={size!r} and ragged=True; it must split WORLD then.")
        self.inner = Part(self, "inner", inner)
        self.outer = Part(self, "outer", outer)
        self._key = (frozenset(map(_identity, self.of)), inner, outer, self.ragged)

    def __eq__(self, other: object) -> bool:
        """Return True if the other is the same declaration: `size`, its default, may be given in one of them alone."""
        return isinstance(other, Split) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        of = self.of[0] if len(self.of) == 1 else self.of
        named = "".join(f", {part.side}={part.name!r}" for part in (self.inner, self.outer) if part.name)
        size = "" if self.size is None else f", size={self.size!r}"
        return f"Split({of!r}{named}{size}{', ragged=True' * self.ragged})"


@dataclass(frozen=True, slots=True)
class Part:
    """The inner or the outer part of a split; `Split` makes both."""

    split: Split = field(repr=False)
    side: Side
    name: str | None

    @property
    def other(self) -> Part:
        """Return the part that makes up the whole together with this one."""
        return self.split.outer if self.side == "inner" else self.split.inner

    def __repr__(self) -> str:
        return f"{self.split!r}.{self.side}"


Reference: TypeAlias = "str | Axis | Part | Special"
OneOrMore: TypeAlias = "str | Axis | Part | Split | Special | Sequence[str | Axis | Part | Split | Special]"
#: A function of a `pgregistry.Mesh`, which is defined above this module.
GroupsFunction: TypeAlias = Callable[[Any], Iterable[Iterable[int]]]


@dataclass(frozen=True, slots=True, init=False)
class Mode:
    """A named family of groups, as `pgregistry_modes` yields it.

    >>> Mode("model", over=("pipe", "tensor")).over
    ('pipe', 'tensor')

    Args:
        name: The key in `context["model"]`.
        over: What varies inside a group: axes, parts or `WORLD`, as objects, which declares them, or by name.
        at: Keep only these positions of each group, as in `at=(0, -1)`; those out of range are dropped.
        where: Keep only the ranks at these positions of what `over` does not touch, as in `where={"pipe": -1}`.
        groups: A function of the `Mesh` that returns rank lists, each in the order of its process group.
        after: Modes that come before this one in the execution order, if they exist.
        dedicated: Refuse to share a process group with a mode that has the same ranks.
        backend, timeout: The torch backend of its process groups, and their timeout in seconds; None for the run's.
        cpu: Add a gloo process group beside one of another backend; None for the run's choice.
        options: Backend options of its process groups, as `{"is_high_priority_stream": True}`.
        sizes: Axes and splits whose sizes `groups` reads; this declares them, as `over` would.
    """

    name: str
    over: tuple[Reference, ...] | None
    at: tuple[int, ...] | None
    where: Mapping[str, int] = field(hash=False)
    groups: GroupsFunction | None
    after: tuple[str, ...]
    dedicated: bool
    backend: str | None
    timeout: float | None
    cpu: bool | None
    options: Mapping[str, object] = field(hash=False)
    sizes: tuple[Reference, ...] = field(repr=False)

    def __init__(
        self,
        name: str,
        over: OneOrMore | None = None,
        at: int | Iterable[int] | None = None,
        where: Mapping[str, int] | None = None,
        groups: GroupsFunction | None = None,
        after: str | Iterable[str] = (),
        dedicated: bool = False,
        backend: str | None = None,
        timeout: float | None = None,
        cpu: bool | None = None,
        options: Mapping[str, object] | None = None,
        sizes: OneOrMore = (),
    ) -> None:
        name, over, at, where, after, sizes = map(values.plain, (name, over, at, where, after, sizes))
        backend, timeout, options = map(values.plain, (backend, timeout, options))
        what = f"Mode({shown(name)})"
        values.check_mode(name, over, {"at": at, "where": where}, groups, sizes, what)
        for key, value in {
            "name": name,
            "over": None if over is None else _references(over, what),
            "at": None if at is None else values.check_positions(at, what),
            "where": values.check_where(where, what),
            "groups": groups,
            "after": values.check_names("after", after, what),
            "dedicated": values.check_flag("dedicated", dedicated, what),
            "backend": values.check_backend(backend, what),
            "timeout": values.check_timeout(timeout, what),
            "cpu": None if cpu is None else values.check_flag("cpu", cpu, what),
            "options": values.check_options(options, what),
            "sizes": _references(sizes, what),
        }.items():
            object.__setattr__(self, key, value)

    @property
    def declares(self) -> tuple[Reference, ...]:
        """Return the references of the mode: what it is over, what it is `where`, or what sizes `groups` reads."""
        return self.sizes if self.over is None else (*self.over, *self.where)


def _identity(reference: Reference) -> object:
    """Return the name of an axis or a named part, else what tells a reference from others."""
    return reference.name or reference if isinstance(reference, Axis | Part) else reference


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of a plugin that is not a size, as `pgregistry_settings` yields it.

    >>> Setting("ring_backend", "safe", choices=("fast", "safe")).choices
    ('fast', 'safe')

    Args:
        name: The name that users write, as in `ring_backend="fast"`.
        default: The value if none is given; its type is the setting's: text, a flag or a number.
        choices, help: The values that it can have, None for all of its type; one sentence for people.
    """

    name: str
    default: str | bool | int | float
    choices: tuple[str | bool | int | float, ...] | None = None
    help: str = ""

    def __post_init__(self) -> None:
        choices = values.check_setting(self.name, self.default, self.choices, self.help)
        object.__setattr__(self, "choices", choices)


def _references(over: OneOrMore, what: str) -> tuple[Reference, ...]:
    given = tuple(over) if isinstance(over, Sequence) and not isinstance(over, str) else (over,)
    references = tuple(item.inner if isinstance(item, Split) else item for item in given)
    for item in references:
        if not isinstance(item, str | Axis | Part) and item is not WORLD:
            raise PluginError(f"{what}: {shown(item)} must be an axis, a part of a split or WORLD.")
    return references
