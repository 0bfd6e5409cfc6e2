"""The way to another host."""

import socket

import pytest

from pgregistry.coordination.meeting.route import interface_of, is_loopback, own_address


def test_the_loopback_interface_has_the_loopback_address() -> None:
    names = {name for _, name in socket.if_nameindex()}
    assert interface_of("127.0.0.1") in names
    assert interface_of("203.0.113.1") is None
    assert interface_of("not an address") is None


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_the_own_address_on_the_way_to_this_host_is_a_loopback_address(family: str) -> None:
    assert is_loopback(own_address(family, 29500))


def test_there_is_no_own_address_on_the_way_to_a_name_that_does_not_resolve() -> None:
    assert own_address("no-such-host.invalid", 29500) == ""
