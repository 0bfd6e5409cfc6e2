"""The way to another host: waiting until it listens, the own address on that way, and the interface that has it."""

from __future__ import annotations

import array
import ipaddress
import logging
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pgregistry.coordination.store.connections import host_of, knock

log = logging.getLogger("pgregistry")

#: Seconds that one attempt to connect may take. A packet that got lost is sent again after one.
CONNECT: Final = 3.0
#: Seconds after which waiting is logged, and then again.
QUIET: Final = 2.0
#: Seconds between two log lines.
OFTEN: Final = 5.0
#: The first byte of IPv4 addresses that only the host itself can reach.
LOOPBACK: Final = 127
#: The request for all IPv4 addresses of interfaces, and the bytes of each in the answer.
SIOCGIFCONF: Final = 0x8912
REQUEST: Final = 40


class Waiting:
    """The wait of one rank for an address: it ends at `until`, and is logged every few seconds.

    Args:
        rank: This rank.
        pause: Seconds between two attempts.
        until: A time of `time.monotonic()`.
    """

    def __init__(self, rank: int, pause: float, until: float) -> None:
        self.until = until
        self._rank = rank
        self._pause = pause
        self._next = time.monotonic() + QUIET

    @property
    def left(self) -> float:
        """Return the seconds that are left, more than 0."""
        return max(self.until - time.monotonic(), 0.01)

    @property
    def over(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self.until

    def pause(self, where: str, error: BaseException) -> None:
        """Wait a little before another attempt, and log why from time to time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + OFTEN
            why = f"its name does not resolve yet: {error}" if isinstance(error, socket.gaierror) else error
            log.warning("pgregistry: rank %d waits for the store that rank 0 hosts at %s (%s)", self._rank, where, why)
        time.sleep(min(self._pause, self.left))

    def knock(self, address: str, port: int, *, patient: bool = True) -> None:
        """Wait until a process listens: torch's own retries take up to twice the time, and log at length."""
        while True:
            try:
                knock(address, port, min(self.left, CONNECT))
            except OSError as error:
                if not patient or self.over:
                    raise
                self.pause(joined(address, port), error)
            else:
                return

    def resolve(self, address: str, port: int) -> None:
        """Wait until the name of a host resolves."""
        while True:
            try:
                socket.getaddrinfo(host_of(address), port, type=socket.SOCK_STREAM)
            except socket.gaierror as error:
                if self.over:
                    raise
                self.pause(joined(address, port), error)
            else:
                return


def joined(address: str, port: int) -> str:
    """Return address and port as one text.

    >>> joined("host0", 29500), joined("fd00::1", 29500)
    ('host0:29500', '[fd00::1]:29500')
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def own_address(other: str, port: int) -> str:
    """Return the address of this host on the way to another; empty if there is no way. Nothing is sent.

    >>> own_address("127.0.0.1", 29500)
    '127.0.0.1'
    """
    try:
        ways = socket.getaddrinfo(host_of(other), port, type=socket.SOCK_DGRAM)
    except OSError:
        return ""
    for family, kind, protocol, _, where in ways:
        with suppress(OSError), socket.socket(family, kind, protocol) as way:
            way.connect(where)
            return str(way.getsockname()[0])
    return ""


def is_loopback(address: str) -> bool:
    """Return whether only this host itself can reach an address.

    >>> is_loopback("127.0.1.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("10.0.0.1")
    (True, True, True, False)
    """
    with suppress(OSError, ValueError):
        return socket.inet_pton(socket.AF_INET, address)[0] == LOOPBACK  # a tenth of the time of what follows
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"


def interface_of(address: str) -> str | None:
    """Return the name of the interface with an address; None if none has it, or this system does not say.

    >>> interface_of("203.0.113.1")
    """
    try:
        wanted = ipaddress.ip_address(address)
        interfaces = _of_version_6() if wanted.version == 6 else _of_version_4()
        return next((name for name, packed in interfaces if packed == wanted.packed), None)
    except (ImportError, OSError, ValueError):
        return None


def _of_version_4() -> list[tuple[str, bytes]]:
    import fcntl

    answer = array.array("B", bytes(REQUEST * 512))
    where, length = answer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        (length, _) = struct.unpack("iL", fcntl.ioctl(way, SIOCGIFCONF, struct.pack("iL", length, where)))
    entries = [answer[start : start + REQUEST].tobytes() for start in range(0, length, REQUEST)]
    return [(entry[:16].partition(b"\0")[0].decode(), entry[20:24]) for entry in entries]


def _of_version_6() -> list[tuple[str, bytes]]:
    lines = Path("/proc/net/if_inet6").read_text(encoding="utf-8").splitlines()
    return [(words[-1], bytes.fromhex(words[0])) for words in map(str.split, lines)]
