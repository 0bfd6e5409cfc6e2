"""The errors a user can meet: what is wrong, where each value came from, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PgregistryError(Exception):
    """Anything that pgregistry refuses or cannot do."""


class ConfigError(PgregistryError):
    """A value that the user gave cannot work: a size, a name, a file."""


class PluginError(PgregistryError):
    """A plugin is wrong: it does not load, or what it declares cannot be."""


class PlanMismatch(PgregistryError):  # noqa: N818 - it reads as what happened
    """The ranks disagree about what to build, or one of them is missing."""


class BuildError(PgregistryError):
    """The plan is fine, but a process group of it could not be made or used."""


class Problems:
    """Collects what is wrong, so that one error can tell a user all of it at once.

    >>> problems = Problems()
    >>> problems.raise_any()
    >>> problems.add(ConfigError("tensor = 3 does not divide 8."))
    >>> problems.add(ConfigError("Nothing is called 'tensr'."))
    >>> problems.raise_any()
    Traceback (most recent call last):
        ...
    pgregistry.errors.ConfigError: 2 problems:
    - tensor = 3 does not divide 8.
    - Nothing is called 'tensr'.
    """

    def __init__(self) -> None:
        self._found: list[PgregistryError] = []

    def add(self, problem: PgregistryError) -> None:
        """Keep a problem for later, unless the same words were said already."""
        if str(problem) not in map(str, self._found):
            self._found.append(problem)

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """Raise all problems as one error; do nothing if there are none.

        Raises:
            PluginError: if all of them are about plugins.
            ConfigError: otherwise.
        """
        if not self._found:
            return
        if len(self._found) == 1:
            raise self._found[0]
        kind = PluginError if all(isinstance(p, PluginError) for p in self._found) else ConfigError
        lines = (str(problem).replace("\n", "\n  ") for problem in self._found)
        raise kind("\n- ".join((f"{len(self._found)} problems:", *lines))) from self._found[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One sentence that helps with a name nobody knows.

    >>> did_you_mean("tensr", ["data", "tensor"])
    "Did you mean 'tensor'?"
    >>> did_you_mean("x", ["data", "tensor"])
    'There are data and tensor.'
    >>> did_you_mean("x", [])
    'There are none.'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    if len(known) == 1:
        return f"There is only {known[0]}."
    return f"There are {listing(known)}." if known else "There are none."


def listing(items: Iterable[object], last: str = "and") -> str:
    """Items as a person would list them.

    >>> listing([1, 2, 4], "or")
    '1, 2 or 4'
    """
    words = [str(item) for item in items]
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
