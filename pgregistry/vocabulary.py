"""The vocabulary in which a plugin declares its modes: Axis, Split and Mode.

Words, used throughout with no synonyms:

rank
    A process, numbered from 0 to the world size - 1.
axis
    A named factor of the world; its *size* is how many positions it has.
split
    An axis (or several, or the world) seen as outer × inner, two *parts*.
mode
    A named family of *groups*; a group is a tuple of ranks, ascending.
over
    What varies inside a group. **A group is the set of ranks that agree on everything
    except what the mode is over**, so a mode stays right beside axes it never heard of.

Everything here is plain data: nothing is computed before `plan` puts all modes together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pgregistry import values as arguments
from pgregistry.errors import PluginError

if TYPE_CHECKING:
    from pgregistry.planning.mesh import Mesh


class Special(Enum):
    """Sizes and places that a number or a name cannot say."""

    WORLD = "all ranks"
    REST = "what the other axes leave"
    FULL = "all of what is split"
    HOST = "the ranks of one host"

    def __repr__(self) -> str:
        return self.name


WORLD: Final = Special.WORLD
REST: Final = Special.REST
FULL: Final = Special.FULL
HOST: Final = Special.HOST

Side: TypeAlias = Literal["outer", "inner"]


@dataclass(frozen=True, slots=True, init=False)
class Axis:
    """A named factor of the world.

    `Axis("context", inside=("data", "pipe"), outside="tensor")` is nested in the data and pipe
    axes and around the tensor axis; axes that are not there count as met.

    Args:
        name: Also the name of the size that a user sets (`context=2`).
        size: The default: a number, `REST` (what the other axes leave), or the name of
            another axis or split whose size this one takes.
        inside: Axes that this one nests in (ranks of this axis lie closer together).
        outside: Axes that this one nests around.
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
        arguments.check_size_name(name, f"Axis({name!r})")
        _check_default_size(size, (REST,), f"Axis({name!r})")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "inside", arguments.names(inside))
        object.__setattr__(self, "outside", arguments.names(outside))


class Split:
    """An axis, several axes, a part or the world, seen as outer × inner.

    Inner positions are adjacent: of data positions 0 1 2 3, `Split("data", inner="zero1")` at
    zero1=2 makes the inner groups 0 1 | 2 3 and the outer ones 0 2 | 1 3. Where a part is
    expected, the split itself means its inner part.

    Args:
        of: An axis name, a part, `WORLD`, or a tuple of these (taken in nesting order).
        inner: The name of the inner part: a size that the user can set.
        outer: The name of the outer part: likewise. At least one of the two has a name.
        size: The default of `inner`, or of `outer` where only that has a name: a number,
            `FULL` (all), `HOST` (as many as one host has ranks) or the name of another size.
        ragged: The last inner group may be short, and a size above the whole is one group.
            The parts of a ragged split cannot be split again.

    Attributes:
        inner: The inner `Part`.
        outer: The outer `Part`.
    """

    __slots__ = ("inner", "of", "outer", "ragged", "size")

    inner: Part
    outer: Part
    of: tuple[Reference, ...]
    size: int | str | Special
    ragged: bool

    def __init__(
        self,
        of: OneOrMore,
        inner: str | None = None,
        outer: str | None = None,
        size: int | str | Special = 1,
        ragged: bool = False,
    ) -> None:
        what = f"Split({of!r})"
        if inner is None and outer is None:
            raise PluginError(f"{what} names neither its inner nor its outer part; name one, as inner='zero1'.")
        for name in (inner, outer):
            if name is not None:
                arguments.check_size_name(name, what)
        if inner == outer:
            raise PluginError(f"{what} calls both of its parts {inner!r}; they need two names.")
        _check_default_size(size, (FULL, HOST), what)
        self.of = _references(of, what)
        if not self.of:
            raise PluginError(f"{what} splits nothing; name an axis, a part or WORLD.")
        self.size = size
        self.ragged = bool(ragged)
        self.inner = Part(self, "inner", inner)
        self.outer = Part(self, "outer", outer)

    def _key(self) -> tuple[object, ...]:
        return (self.of, self.inner.name, self.outer.name, self.size, self.ragged)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        of = self.of[0] if len(self.of) == 1 else self.of
        named = "".join(f", {part.side}={part.name!r}" for part in (self.inner, self.outer) if part.name)
        return f"Split({of!r}{named}, size={self.size!r}{', ragged=True' * self.ragged})"


@dataclass(frozen=True, slots=True)
class Part:
    """The inner or the outer part of a split; made by `Split`, used in `over` and `of`."""

    split: Split = field(repr=False)
    side: Side
    name: str | None

    @property
    def other(self) -> Part:
        """The part that, with this one, makes up the whole."""
        return self.split.outer if self.side == "inner" else self.split.inner

    def __repr__(self) -> str:
        return f"{self.split!r}.{self.side}"


Reference: TypeAlias = "str | Axis | Part | Special"
OneOrMore: TypeAlias = "str | Axis | Part | Split | Special | Sequence[str | Axis | Part | Split | Special]"
GroupsFunction: TypeAlias = "Callable[[Mesh], Iterable[Iterable[int]]]"


@dataclass(frozen=True, slots=True, init=False)
class Mode:
    """A named family of groups: what `pgregistry_modes` yields.

    >>> Mode("model", over=("pipe", "tensor")).over
    ('pipe', 'tensor')

    Args:
        name: What users write in `context["model"]`.
        over: What varies inside a group: one or a tuple of axes, parts and `WORLD`, as objects
            (which declares them) or by name. `()` is each rank alone.
        at: Keep only these positions of each group, as in `at=(0, -1)`; positions out of range
            are dropped, and the ranks left out are in no group of this mode.
        groups: Instead of `over`: a function of the mesh that returns rank lists, for what
            axes cannot say. It is never given the rank, so all ranks get the same answer.
        after: Modes to come after in the execution order, where they are there.
        dedicated: Refuse to share a process group with a mode that has the same ranks.
        backend: The torch backend of its process groups; None for the run's.
        timeout: The timeout of its process groups in seconds; None for the run's.
        cpu: Whether it has a gloo process group beside one of another backend; None for the run's.
        sizes: Axes and splits whose sizes `groups` reads: it declares them, as `over` would.

    Raises:
        PluginError: if the arguments contradict each other.
    """

    name: str
    over: tuple[Reference, ...] | None
    at: tuple[int, ...] | None
    groups: GroupsFunction | None
    after: tuple[str, ...]
    dedicated: bool
    backend: str | None
    timeout: float | None
    cpu: bool | None
    sizes: tuple[Reference, ...] = field(repr=False)

    def __init__(
        self,
        name: str,
        over: OneOrMore | None = None,
        at: int | Iterable[int] | None = None,
        groups: GroupsFunction | None = None,
        after: str | Iterable[str] = (),
        dedicated: bool = False,
        backend: str | None = None,
        timeout: float | None = None,
        cpu: bool | None = None,
        sizes: OneOrMore = (),
    ) -> None:
        what = f"Mode({name!r})"
        if not isinstance(name, str) or not name.isprintable() or not name or name != name.strip():
            raise PluginError(f"{what} needs a name that can be printed on one line.")
        if (over is None) == (groups is None):
            raise PluginError(f"{what} needs one of over= and groups=, not both and not neither.")
        if groups is not None and not callable(groups):
            raise PluginError(f"{what} has groups={groups!r}, which is not a function of the mesh.")
        if groups is None and sizes != ():
            raise PluginError(f"{what} has sizes= beside over=, which declares its own.")
        if groups is not None and at is not None:
            raise PluginError(f"{what} has at= beside groups=; let the function return just those ranks.")
        values: dict[str, Any] = {
            "name": name,
            "over": None if over is None else _references(over, what),
            "at": None if at is None else arguments.positions(at, what),
            "groups": groups,
            "after": arguments.names(after),
            "dedicated": arguments.flag("dedicated", dedicated, what),
            "backend": arguments.check_backend(backend, what),
            "timeout": arguments.check_timeout(timeout, what),
            "cpu": None if cpu is None else arguments.flag("cpu", cpu, what),
            "sizes": _references(sizes, what),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def declares(self) -> tuple[Reference, ...]:
        """What it is over, or what its `groups` reads: its axes and splits."""
        return self.sizes if self.over is None else self.over


def _references(over: OneOrMore, what: str) -> tuple[Reference, ...]:
    given = tuple(over) if isinstance(over, Sequence) and not isinstance(over, str) else (over,)
    references = tuple(item.inner if isinstance(item, Split) else item for item in given)
    for item in references:
        if not isinstance(item, str | Axis | Part) and item is not WORLD:
            raise PluginError(f"{what} is over {item!r}, which is no axis, no part of a split and not WORLD.")
    return references


def _check_default_size(size: object, special: tuple[Special, ...], what: str) -> None:
    known = size in special if isinstance(size, Special) else bool(size) and isinstance(size, int | str)
    if not known or isinstance(size, bool) or (isinstance(size, int) and size < 1):
        allowed = ", ".join(map(repr, special))
        raise PluginError(f"{what} has size={size!r}; it takes a number from 1, {allowed} or the name of a size.")
