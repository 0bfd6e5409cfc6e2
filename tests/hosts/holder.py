"""Namespaces that a process holds: when it ends, however it ends, the kernel removes all that is in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: What a holder does; it is to say under which number the caller knows it, before it has a /proc of its own.
HOLD: Final = (
    "read pid rest </proc/self/stat && mount -t proc proc /proc && mount --bind $2 /etc/hosts && hostname $1 && "
    "ip link set lo up && echo $pid && exec sleep infinity"
)


class BedError(Exception):
    """The machine does not do what a bed needs."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds namespaces.

    Attributes:
        pid: Its number, as the holder that it is inside of knows it.
        enter: What to put before a command to run it inside.
        process: The number of the process of this machine that leads to it, by a chain of only children.
    """

    pid: str
    enter: tuple[str, ...]
    process: int

    @staticmethod
    @contextmanager
    def start(name: str, names: Path, inside: Sequence[str] = ()) -> Iterator[Holder]:
        """Hold new namespaces, inside of those of another holder if one is given."""
        rootless = ("--user", "--map-root-user") if os.geteuid() and not inside else ()
        kinds = ("--net", "--uts", "--pid", "--mount")
        command = ("unshare", *rootless, *kinds, "--fork", "--kill-child", "sh", "-c", HOLD, "sh", name, str(names))
        process = subprocess.Popen(
            (*inside, "setpriv", "--pdeathsig", "KILL", *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the caller, who then cleans up
        )
        try:
            assert process.stdout is not None
            pid = process.stdout.readline().strip()
            if not pid:
                process.kill()
                raise BedError(f"`{' '.join(command[:6])} …` failed: {process.communicate()[1].strip()}")
            user = ("--user", "--preserve-credentials") if rootless else ()
            yield Holder(pid, (*inside, "nsenter", "--target", pid, *user, *kinds), process.pid)
        finally:
            process.kill()
            process.communicate()

    def run(self, *command: str, lines: Sequence[str] = ()) -> None:
        """Run a command to its end; BedError with what it says if it fails."""
        done = subprocess.run(
            (*self.enter, *command), input="\n".join(lines), capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise BedError(f"`{' '.join((*command, *lines))}` failed: {done.stderr.strip()}")
