"""The interface over which gloo connects, if the user names none: the one that reaches the other hosts."""

from __future__ import annotations

import logging
import os
from typing import Final

from pgregistry.coordination.meeting.route import interface_of, is_loopback, own_address
from pgregistry.coordination.places.arrivals import Arrivals
from pgregistry.coordination.store.connections import LostError
from pgregistry.runtime.process import ProcessInfo
from pgregistry.values import shown

log = logging.getLogger("pgregistry")

#: The variable in which gloo finds the interface. Without it gloo takes the one of this host's own name.
VARIABLE: Final = "GLOO_SOCKET_IFNAME"
#: Any port: nothing is sent.
PORT: Final = 9


def choose_interface(process: ProcessInfo, arrivals: Arrivals) -> None:
    """Set the interface for gloo, now and for process groups that are made later, if there are several hosts.

    Hosts may know their own name as a loopback address, to which gloo would send the ranks of other hosts. The way to
    a host shows the interface, if the address of this host on that way is not a loopback address. On the host of the
    store that is the way to any other host.
    """
    if os.environ.get(VARIABLE) or process.one_host:
        return
    address = process.own_address
    if not address or is_loopback(address):
        try:
            others = [place.address for _, place in sorted(arrivals.places().items()) if place.address]
        except LostError as error:  # which the next call of the store raises too
            log.debug("addresses of other hosts could not be read: %s", error)
            return
        address = own_address(others[0], PORT) if others else ""
    if address and not is_loopback(address) and (name := interface_of(address)):
        os.environ[VARIABLE] = name
        log.info("pgregistry: gloo connects over %s, which reaches the other hosts (%s = %s)", name, VARIABLE, name)


def interface_hint(text: str) -> str:
    """Return the line to add to an error of gloo about an address or a connection; empty for any other error.

    >>> interface_hint("no memory")
    ''
    """
    if not any(word in text for word in ("gloo", "address", "onnect")):
        return ""
    value = shown(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else "not set"
    return f"\n  {VARIABLE} ({value}) must name an interface of this host that reaches the other hosts."
