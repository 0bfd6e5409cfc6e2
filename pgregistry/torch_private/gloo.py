"""End a wait inside gloo for members of a process group that do not come."""

from __future__ import annotations

import logging
import socket
import struct
from bisect import bisect_left
from typing import Any, Final

log = logging.getLogger(__name__)

#: An address starts with the length of a host name. No host name is as long as this, so gloo raises.
NO_ADDRESS: Final = "\xff" * 8


def end_wait(name: str, position: int, size: int, store: Any) -> None:
    """End the wait of this rank for the other members of a process group, or for their connections.

    If another torch keeps addresses elsewhere, nobody reads this one, and the wait ends with its timeout.

    Args:
        name: The name of the process group.
        position: The position of this rank in it.
        size: The number of its members.
        store: The store that torch was given for it.
    """
    keys = [f"{name}//cpu//0/{member}" for member in range(size)]
    missing = bisect_left(range(size), True, key=lambda last: not store.check(keys[: last + 1]))
    if missing < size:
        store.compare_set(keys[missing], "", NO_ADDRESS)
    if missing != position and store.check([keys[position]]):
        connect_to_self(store.get(keys[position]), size)


def connect_to_self(address: bytes, size: int) -> None:
    """Connect to this process in the place of all other members, so that its wait for their connections ends.

    gloo has no other way to end it before the timeout of the process group, half an hour by default. The process
    group that comes of it is of no use, and is destroyed.

    Args:
        address: What this process wrote for a process group: its host name and a socket address, each after its
            length, and for each member the number that it sends first when it connects. If there are no numbers,
            a member sends its position.
        size: The most members of a process group.
    """
    try:
        (length,) = struct.unpack_from("@N", address)
        begin = 16 + length
        (size,) = struct.unpack_from("@N", address, begin - 8)
        numbers = [number for (number,) in struct.iter_unpack("@q", address[begin + size :])] or range(size)
        family, port = struct.unpack_from("@H", address, begin)[0], struct.unpack_from("!H", address, begin + 2)[0]
        packed = address[begin + 8 : begin + 24] if family == socket.AF_INET6 else address[begin + 4 : begin + 8]
        host: Any = socket.inet_ntop(family, packed).encode()  # for a text Python imports a module
        for number in numbers:
            with socket.create_connection((host, port), timeout=1) as connection:
                connection.sendall(struct.pack("@q", number))
    except (
        OSError,
        ValueError,
        OverflowError,
        struct.error,
    ) as error:  # gloo listens no more, or writes addresses otherwise
        log.debug("the wait for members of a process group could not be ended: %s", error)
