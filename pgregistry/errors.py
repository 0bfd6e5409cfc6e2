"""The errors that a user can meet, and the wording that they share."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Final

#: `listing` shows this many items of a longer list.
LISTED: Final = 128
#: `format_ranks` shows this many ranges.
MOST_RUNS: Final = 32
#: Characters of a text above which its middle is left out.
LONGEST_TEXT: Final = 20_000


class PgregistryError(Exception):
    """Base class of all errors of pgregistry.

    >>> error = ConfigError("rank 9 is out of range.", ranks=[9])
    >>> error.ranks, error.plugin, error.problems == (error,)
    ((9,), None, True)

    Args:
        message: The text for people.
        ranks: The ranks at fault, if the error is about ranks.
        plugin: The name of the plugin at fault, if the error is about one.
        problems: The single errors that this one reports together.

    Attributes:
        ranks: The ranks at fault, ascending; empty if the error is not about ranks.
        plugin: The name of the plugin at fault, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        ranks: Iterable[int] = (),
        plugin: str | None = None,
        problems: Iterable[PgregistryError] = (),
    ) -> None:
        super().__init__(clean(message))
        self.ranks = tuple(sorted(ranks))
        self.plugin = plugin
        self._problems = tuple(problems)

    @property
    def problems(self) -> tuple[PgregistryError, ...]:
        """Return the single errors that this one reports together; itself if it is one."""
        return self._problems or (self,)


class ConfigError(PgregistryError):
    """A value that the user gave cannot work: a size, a name, a file."""


class PluginError(PgregistryError):
    """A plugin is wrong: it does not load, or its declarations are invalid."""


class PlanMismatch(PgregistryError):  # noqa: N818 - it reads as what happened
    """The ranks disagree about the plan, or a rank is missing."""


class BuildError(PgregistryError):
    """The plan is valid, but one of its process groups could not be made or used."""


for _public in (PgregistryError, ConfigError, PluginError, PlanMismatch, BuildError):
    _public.__module__ = "pgregistry"  # which tracebacks show


class Problems:
    """Collects errors, so that one error can report all of them at once.

    >>> problems = Problems()
    >>> problems.raise_any()
    >>> problems.add(ConfigError("tensor = 3 does not divide 8."))
    >>> problems.add(ConfigError("Nothing is called 'tensr'."))
    >>> problems.raise_any()
    Traceback (most recent call last):
        ...
    pgregistry.ConfigError: 2 problems:
    - tensor = 3 does not divide 8.
    - Nothing is called 'tensr'.
    """

    def __init__(self) -> None:
        self._found: dict[str, PgregistryError] = {}  # by text
        self._collected = 0

    def add(self, problem: PgregistryError) -> None:
        """Keep a problem for later, unless one with the same text is there."""
        self._found.setdefault(str(problem), problem)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Add the error that is raised inside, instead of raising it.

        >>> problems = Problems()
        >>> with problems.collecting():
        ...     raise ConfigError("tensor = 3 does not divide 8.")
        >>> len(problems)
        1
        """
        try:
            yield
        except PgregistryError as error:
            if isinstance(error.__cause__, RecursionError):
                raise  # the stack is full, so what comes next would fail as well, for no reason of its own
            self._collected += 1
            self.add(error)

    @contextmanager
    def raising_collected(self) -> Iterator[None]:
        """Raise all problems at the end if `collecting` caught an error inside."""
        before = self._collected
        yield
        if self._collected > before:
            self.raise_any()

    def __len__(self) -> int:
        return len(self._found)

    def raise_more_than(self, known: int) -> None:
        """Raise all problems as one error if there are more than a number that was known before."""
        if len(self) > known:
            self.raise_any()

    def raise_any(self) -> None:
        """Raise all problems as one error; return if there are none.

        Raises:
            PluginError: if all of them are about plugins.
            ConfigError: otherwise.
        """
        if not (found := list(self._found.values())):
            return
        if len(found) == 1:
            raise found[0]
        kind = PluginError if all(isinstance(problem, PluginError) for problem in found) else ConfigError
        lines = (text.replace("\n", "\n  ") for text in self._found)
        text = "\n- ".join((f"{len(found)} problems:", *lines))
        single = [one for problem in found for one in problem.problems]
        ranks = {rank for problem in single for rank in problem.ranks}
        plugins = {problem.plugin for problem in single}
        plugin = plugins.pop() if len(plugins) == 1 else None
        raise kind(text, ranks=ranks, plugin=plugin, problems=single) from found[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return one sentence that helps with an unknown name.

    >>> did_you_mean("tensr", ["data", "tensor"])
    "Did you mean 'tensor'?"
    >>> did_you_mean("tp", ["data", "tensor"])
    "Did you mean 'tensor'?"
    >>> did_you_mean("x", ["data", "tensor"])
    'There are data and tensor.'
    >>> did_you_mean("x", [])
    'There are none.'
    """
    import difflib  # for an error alone

    known, name = sorted(known), name[:200]  # nothing is like a longer one, and to find that out takes long
    # People know data parallelism as dp, data-parallel or data_parallel_size.
    short = re.fullmatch(r"([a-z])p(_size)?", name)
    full = re.split(r"[_-](?:model[_-])?parallel", name)[0]
    close = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(full, known, n=1)
    if close := close or [one for one in known if short and one.startswith(short[1])]:
        return f"Did you mean {listing(map(repr, close), 'or')}?"
    if len(known) == 1:
        return f"There is only {known[0]}."
    return f"There are {listing(known)}." if known else "There are none."


def listing(items: Iterable[object], last: str = "and") -> str:
    """Return items as a person would list them, without the middle of a very long list.

    >>> listing([1, 2, 4], "or")
    '1, 2 or 4'
    """
    words = [str(item) for item in items]
    if len(words) > LISTED:
        words = [*words[: LISTED // 2], "…", *words[-LISTED // 2 :]]
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def format_ranks(ranks: Iterable[int]) -> str:
    """Return ranks as ranges, with the noun.

    >>> format_ranks([0, 1, 2, 5]), format_ranks([3])
    ('ranks 0-2, 5', 'rank 3')

    Of more than `MOST_RUNS` ranges the first are shown, and how many ranks there are.
    """
    ascending = sorted(ranks)
    runs = [[rank for _, rank in run] for _, run in groupby(enumerate(ascending), lambda one: one[1] - one[0])]
    shown = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:MOST_RUNS])
    more = f", … ({len(ascending):,} in all)" if len(runs) > MOST_RUNS else ""
    return f"rank{'s' * (len(ascending) != 1)} {shown}{more}"


def clean(text: str, limit: int = LONGEST_TEXT) -> str:
    r"""Return text that can be printed and sent: bounded, and with control characters and surrogates escaped.

    >>> print(clean("\x1b[31mred \ud800"))
    \x1b[31mred \ud800
    >>> clean("a" * 100, limit=60)
    'aaaaa … (90 characters left out) … aaaaa'
    """
    if len(text) > limit:
        half = (limit - 50) // 2  # with the words between them, the result is never shortened again
        text = f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one == "\n" or one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def describe(error: BaseException) -> str:
    """Return the class and the text of an error of any origin, on which nothing can be relied.

    >>> describe(ValueError("no disk"))
    'ValueError: no disk'
    """
    return f"{type(error).__name__}: {text_of(error)}"


def text_of(error: BaseException) -> str:
    """Return the text of an error, even if making it raises."""
    try:
        return clean(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # of a class of anybody's
        return f"(its text raised {type(failure).__name__})"


def lacking(what: str, *modules: str, starts_python: bool = False) -> str | None:
    """Return that something needs modules that are not installed, or a Python to start; None if all is there.

    >>> lacking("A check", "pgregistry"), lacking("A check", "no_such_module")
    (None, 'A check needs no_such_module, which is not installed.')
    """
    if starts_python and getattr(sys, "frozen", False):
        return f"{what} needs a Python that it can start, which a frozen program is not."
    missing = [name for name in modules if sys.modules.get(name) is None and importlib.util.find_spec(name) is None]
    if not missing:
        return None
    way_out = " Install it: pip install 'pgregistry[test]'." if missing == ["cloudpickle"] else ""
    return f"{what} needs {listing(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.{way_out}"


def need(what: str, *modules: str, starts_python: bool = False) -> None:
    """Raise ConfigError if something needs what is not there."""
    if why := lacking(what, *modules, starts_python=starts_python):
        raise ConfigError(why)
