"""End a wait inside gloo for members of a process group that do not come."""

from __future__ import annotations

import logging
import socket
import struct
from typing import Final

log = logging.getLogger(__name__)

#: An address starts with the length of a host name. No host name is as long as this, so gloo raises.
NO_ADDRESS: Final = "\xff" * 8


def no_addresses(name: str, size: int) -> tuple[str, dict[str, str]]:
    """Return a prefix, and what ends in the store below it the wait for addresses of a process group.

    If another torch keeps addresses elsewhere, nobody reads these, and the wait ends with its timeout.

    Args:
        name: The name of the process group, after the prefix of the store that torch was given.
        size: The number of its members.
    """
    return f"{name}//cpu//0", dict.fromkeys(map(str, range(size)), NO_ADDRESS)


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
        for number in numbers:
            with socket.create_connection((socket.inet_ntop(family, packed), port), timeout=1) as connection:
                connection.sendall(struct.pack("@q", number))
    except (OSError, ValueError, struct.error) as error:  # gloo listens no more, or writes addresses otherwise
        log.debug("the wait for members of a process group could not be ended: %s", error)
