"""The output of the command line: only results go to stdout, and a file is written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from pgregistry.errors import ConfigError


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Send to stderr what is printed on stdout inside: a plugin may print, and so may a program that it runs."""
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # streams of a test or a notebook
        with redirect_stdout(sys.stderr):
            yield
        return
    sys.stdout.flush()
    kept = os.dup(out)
    try:
        os.dup2(err, out)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, out)
        os.close(kept)


def in_colour() -> bool:
    """Return True if stdout is a terminal, and NO_COLOR is not set: https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_whole(path: str, text: str) -> None:
    """Write a file as a whole: if that fails or is interrupted, what was there before stays as it was.

    Raises:
        ConfigError: if it cannot be written.
    """
    if not path:
        raise ConfigError("A file to write must have a name, but '' was given.")
    try:
        given = Path(path)  # unresolved, since /dev/stdout leads to a pipe that has no path of its own
        if given.exists() and not given.is_file():  # a pipe or a device
            given.write_text(text, encoding="utf-8")
            return
        target = Path(os.path.realpath(path))
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with beside.open("x", encoding="utf-8") as file:
                file.write(text)
            beside.replace(target)
        finally:
            with suppress(OSError):
                beside.unlink()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be written: {reason}.") from error
