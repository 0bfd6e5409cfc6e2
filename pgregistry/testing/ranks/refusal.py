"""One text for all ranks that refuse together: the first of a host prints it, in place of each of them."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from pgregistry.errors import ConfigError, PgregistryError, PlanMismatch
from pgregistry.settings.launchers import launcher

#: How long a rank stays after it refused, in seconds: until others that refuse for the same reason have seen that it
#: is printed, for a launcher ends all ranks as soon as one of them ends.
STAY: Final = 1.0


def refusal(error: PgregistryError) -> tuple[str, int]:
    """Return what a command prints of an error, and its exit status.

    >>> refusal(PlanMismatch("The ranks disagree."))
    ('PlanMismatch: The ranks disagree.', 3)
    """
    return f"{type(error).__name__}: {error}", 3 if isinstance(error, PlanMismatch) else 1


def work(function: Callable[..., None], *arguments: object) -> None:
    """Call a function on one of several ranks; if it raises PgregistryError, print that and exit."""
    try:
        function(*arguments)
    except PgregistryError as error:
        text, status = refusal(error)
        print_once(text)
        sys.exit(status)


def print_once(text: str) -> None:
    """Print a text on stderr, unless another rank of this host, which the same launcher started, prints the same."""
    ranks = _ranks()
    if not ranks:
        _print(text)
        return
    name = hashlib.blake2b(f"{ranks} {text}".encode(errors="replace"), digest_size=16).hexdigest()
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0pgregistry-{name}")  # not a file: it is free again when this process ends
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                _print(text)
        else:
            _print(text)
        time.sleep(STAY)


def _print(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # in one piece, which other processes cannot come between
    sys.stderr.flush()


def _ranks() -> str:
    """Return what the ranks of this host have in common, and no other process; empty if it is not known."""
    try:
        launch = launcher.read(os.environ)
    except ConfigError:
        return ""
    several = launch is not None and launch.world_size > 1
    return f"{launch.job} {os.getppid()}" if launch and several and sys.platform == "linux" else ""
