"""What gloo reads from the store while it makes a process group."""

from __future__ import annotations

from typing import Final

#: An address starts with the length of a host name. No host name is as long as this, so gloo raises.
NO_ADDRESS: Final = "\xff" * 8


def no_addresses(name: str, size: int) -> tuple[str, dict[str, str]]:
    """Return a prefix, and what ends in the store below it the wait for members of a process group that do not come.

    If another torch keeps addresses elsewhere, nobody reads these, and the wait ends with its timeout.

    Args:
        name: The name of the process group, after the prefix of the store that torch was given.
        size: The number of its members.
    """
    return f"{name}//cpu//0", dict.fromkeys(map(str, range(size)), NO_ADDRESS)
