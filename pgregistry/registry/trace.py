"""What planning did, told on stderr while it happens: `--trace`, or PGREGISTRY_TRACE=1."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from pgregistry.vocabulary import Mode

if TYPE_CHECKING:
    from pgregistry.planning.declarations import Declarations
    from pgregistry.registry.discovery import Found, Plugin
    from pgregistry.registry.manager import Status
    from pgregistry.settings.merge import ConfigValue


def tracing(asked: bool | None, environ: Mapping[str, str] | None = None) -> Trace | None:
    """A trace where one is asked for; None is for what the environment says.

    >>> tracing(None, {"PGREGISTRY_TRACE": "1"}), tracing(False, {"PGREGISTRY_TRACE": "1"})
    (Trace(), None)
    """
    if asked is None:
        asked = (os.environ if environ is None else environ).get("PGREGISTRY_TRACE") == "1"
    return Trace() if asked else None


@dataclass(frozen=True, slots=True)
class Trace:
    """Tells which plugins were found, what they were asked and answered, and how the order came out.

    What comes next is told before it happens, so the last line says where a run hangs or dies.
    """

    def say(self, line: str) -> None:
        """Write one line."""
        print(f"pgregistry: {line}", file=sys.stderr, flush=True)

    def add(self, text: str) -> None:
        """Write what belongs to the line before."""
        for line in text.splitlines():
            self.say(f"  {line}")

    def found(self, found: Found) -> None:
        """A plugin is installed, and where."""
        where = found.entry_point.dist.locate_file("") if found.entry_point.dist else "nowhere"
        self.say(f"{found} found in {where}")

    def became(self, status: Status) -> None:
        """Whether a plugin is on, and why not."""
        if status.error:
            self.add(f"failed: {status.error}")
        elif status.reason:
            self.add(f"off: {status.reason}")
        else:
            module = status.found.entry_point.module
            self.add(f"on: {getattr(sys.modules.get(module), '__file__', None) or module}")

    def asks(self, plugin: Plugin, hook: str, arguments: Mapping[str, object]) -> None:
        """A hook is called next; of a plan, a context or a command line it shows the name alone."""
        given = (f"{key}={value!r}" if isinstance(value, str | None) else key for key, value in arguments.items())
        self.say(f"{hook}({', '.join(given)}) of {plugin}")

    def answers(self, answer: object) -> None:
        """What a hook answered, or why it did not."""
        several = answer if isinstance(answer, list) else [answer]
        for one in several or [None]:
            self.add(_shown(one))

    def extra(self, modes: Iterable[Mode]) -> None:
        """The modes that the user gives as objects."""
        self.say("extra= declares")
        for mode in modes:
            self.add(_shown(mode))

    def modes(self, declarations: Declarations) -> None:
        """In which order modes are built, and why."""
        self.say("Modes in the order of building: each after those it needs; of all such orders the smallest by name:")
        for one in declarations.modes:
            uses = declarations.uses[one.mode.name]
            why = [f"after {other}, which declares {' and '.join(sorted(uses[other]))}" for other in sorted(uses)]
            why += [f"after {other}, as after= says" for other in one.mode.after if other in declarations.uses]
            self.add(f"{one.mode.name} ({'; '.join(why)})" if why else one.mode.name)

    def axes(
        self,
        order: Iterable[str],
        sizes: Mapping[str, ConfigValue[int]],
        declarations: Declarations,
        said: ConfigValue[tuple[str, ...]] | None,
    ) -> None:
        """In which order axes nest, and who says so."""
        by = f"order = {','.join(said.value)} ({said.origin})" if said else "inside and outside say"
        self.say(f"Axes, outermost first, as {by}. Those of size 1 move no rank:")
        for name in order:
            axis = declarations.axes[name]
            nests = [f"; {key} {', '.join(value)}" for key in ("inside", "outside") if (value := getattr(axis, key))]
            self.add(f"{name} = {sizes[name].value} ({sizes[name].origin}){''.join(nests)}")


def _shown(value: object) -> str:
    """A mode with what it says, without what it leaves open; anything else as it is."""
    if not isinstance(value, Mode):
        return "nothing" if value is None else str(value)
    bare = Mode(value.name, over=())
    said = {field.name: getattr(value, field.name) for field in fields(value)}
    told = [
        f"{key}={getattr(this, '__name__', None) or repr(this)}"
        for key, this in said.items()
        if (this != getattr(bare, key) and this is not None) or (key == "over" and this == ())
    ]
    return f"Mode({value.name!r}, {', '.join(told)})"
