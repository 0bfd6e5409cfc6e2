"""Tracing: log lines on how a plan comes about, which `--trace` and PGREGISTRY_TRACE=1 print on stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Final

from pgregistry.errors import clean
from pgregistry.values import shown
from pgregistry.vocabulary import Mode

#: Each line is logged before the thing happens, so the last line names what hangs or dies.
log: Final = logging.getLogger("pgregistry.plan")


class _Printer(logging.Handler):
    """Prints each line of a record on stderr, behind the name of the package."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the lines of a record."""
        for line in clean(record.getMessage()).splitlines():
            print(f"pgregistry: {line}", file=sys.stderr, flush=True)


@contextmanager
def tracing(asked: bool | None = None) -> Iterator[None]:
    """Print the trace on stderr, if asked to; None stands for what PGREGISTRY_TRACE asks for.

    Traces do not add up: inside another one it prints nothing twice.
    """
    if asked is None:
        asked = os.environ.get("PGREGISTRY_TRACE") == "1"
    if not asked or any(isinstance(handler, _Printer) for handler in log.handlers):
        yield
        return
    printer, level = _Printer(), log.level
    log.addHandler(printer)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(printer)
        log.setLevel(level)


def describe_result(value: object) -> str:
    """Return a mode with the arguments that differ from their defaults, or the text of anything else.

    >>> describe_result(Mode("tensor", over="tensor", timeout=60)), describe_result(None)
    ("Mode('tensor', over=('tensor',), timeout=60.0)", 'nothing')
    """
    try:
        return _described(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # of a class of anybody's: the trace is there to find it
        return shown(value)


def _described(value: object) -> str:
    if not isinstance(value, Mode):
        return "nothing" if value is None else str(value)
    bare = Mode(value.name, over=())
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    arguments = [
        f"{key}={getattr(this, '__name__', None) or repr(this)}"
        for key, this in given.items()
        if (this != getattr(bare, key) and this is not None) or (key == "over" and this == ())
    ]
    return f"Mode({value.name!r}, {', '.join(arguments)})"
