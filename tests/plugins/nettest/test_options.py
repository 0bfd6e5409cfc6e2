"""Options as typed on the command line."""

from __future__ import annotations

import pytest
from pgregistry_nettest.options import parse_ops, parse_sizes
from simulated_network import MIB

from pgregistry import ConfigError


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("1K..64K", [1024 << i for i in range(7)]), ("8,1M", [8, MIB]), ("3K..10K", [3072, 6144]), ("2g", [2 << 30])],
)
def test_sizes_as_typed(text: str, sizes: list[int]) -> None:
    assert list(parse_sizes(text)) == sizes


@pytest.mark.parametrize("text", ["", "2M..1M", "1X", "3", "0", "-4", "1K..", "1.5M", "9999G"])
def test_sizes_that_cannot_be_are_refused_with_what_can(text: str) -> None:
    with pytest.raises(ConfigError, match=r"size = '"):
        parse_sizes(text)


def test_a_collective_that_nobody_knows_is_refused_with_all_that_are() -> None:
    with pytest.raises(ConfigError) as error:
        parse_ops("all_reduce,allgather")
    assert str(error.value) == (
        "op = 'allgather' must be one of all_reduce, all_gather, reduce_scatter, broadcast, all_to_all, send_recv."
    )
