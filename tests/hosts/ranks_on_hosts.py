"""Ranks on the hosts of a bed, forked from one process that has imported torch: each enters its host first."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bed import PORT, Bed
from holder import BedError

#: Flags of Linux for namespaces, and for mounts.
NEWNS, NEWUTS, NEWUSER, NEWNET = 0x00020000, 0x04000000, 0x10000000, 0x40000000
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 1 << 18
#: Seconds for which a rank waits for the others, and for the test, at a moment.
PATIENCE: Final = 60


@dataclass(frozen=True, slots=True)
class Site:
    """The places of the ranks of one run: what each must know to enter its host.

    Attributes:
        holders: For each host, the number of the process that holds it.
        names: The file that is /etc/hosts on each.
        per_host: How many ranks each host has.
        first: The address of the first host.
        folder: A folder that all ranks and the test see.
    """

    holders: tuple[int, ...]
    names: str
    per_host: int
    first: str
    folder: Path

    @property
    def count(self) -> int:
        """Return how many ranks there are."""
        return len(self.holders) * self.per_host

    def enter(self, environ: Mapping[str, str] = {}) -> int:
        """Move this process to the host of its rank, with the variables of a launcher; return the rank."""
        rank = int(os.environ["RANK"])
        host, local = divmod(rank, self.per_host)
        here = os.getcwd()
        enter_namespaces(self.holders[host], self.names)
        os.chdir(here)
        place = {"LOCAL_RANK": local, "LOCAL_WORLD_SIZE": self.per_host, "GROUP_RANK": host, "WORLD_SIZE": self.count}
        os.environ.update({name: str(value) for name, value in place.items()})
        os.environ.update({"MASTER_ADDR": self.first, "MASTER_PORT": str(PORT), "GLOO_SOCKET_IFNAME": "eth0"})
        os.environ.update(environ)
        return rank

    def pause(self, moment: str) -> None:
        """Show the test that this rank is at a moment, and stay there until the test lets all ranks go on."""
        (self.folder / f"{moment}{os.environ['RANK']}").touch()
        until = time.monotonic() + PATIENCE
        while not (self.folder / f"{moment}-go").exists():
            if time.monotonic() > until:
                raise TimeoutError(f"the test did not let ranks go on from {moment}")
            time.sleep(0.005)

    def at(self, moment: str, action: Callable[[], object]) -> threading.Thread:
        """Start a thread of the test that does something when all ranks are at a moment, and then lets them go on."""

        def wait_and_act() -> None:
            until = time.monotonic() + PATIENCE
            while len(list(self.folder.glob(f"{moment}[0-9]*"))) < self.count and time.monotonic() < until:
                time.sleep(0.005)
            action()
            (self.folder / f"{moment}-go").touch()

        thread = threading.Thread(target=wait_and_act, daemon=True)
        thread.start()
        return thread


def site(bed: Bed, per_host: int, folder: Path, on: Sequence[int] | None = None) -> Site:
    """Return the site of ranks on some hosts of a bed, or on all."""
    chosen = range(len(bed.machines)) if on is None else on
    holders = tuple(innermost(bed.machines[host].process) for host in chosen)
    return Site(holders, str(bed.folder / "hosts"), per_host, bed.address(chosen[0]), folder)


def innermost(process: int) -> int:
    """Return the last of the processes of which each is the only child of the one before."""
    while children := Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split():
        process = int(children[0])
    return process


def enter_namespaces(process: int, names: str) -> None:
    """Enter network and host name of a process, and give this one an /etc/hosts of its own."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: Any) -> None:
        if getattr(libc, name)(*arguments):
            raise BedError(f"{name}: {os.strerror(ctypes.get_errno())}")

    other_user = os.stat(f"/proc/{process}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
    descriptor = os.pidfd_open(process)
    call("setns", descriptor, NEWNET | NEWUTS | (NEWUSER if other_user else 0))
    os.close(descriptor)
    call("unshare", NEWNS)
    call("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)
    call("mount", names.encode(), b"/etc/hosts", None, BIND, None)
