"""HSDP: shards of the weights inside each host, and copies of them across hosts. It is off until enabled."""

from collections.abc import Iterator

from pgregistry import HOST, Mode, Split, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks of 2 hosts, tensor=2: shard 0 2 | 1 3 | 4 6 | 5 7, replicate 0 4 | 1 5 | 2 6 | 3 7."""
    copies = Split("data", inner="shard", outer="replicate", size=HOST)
    yield Mode("replicate", over=copies.outer)
    yield Mode("shard", over=copies)
