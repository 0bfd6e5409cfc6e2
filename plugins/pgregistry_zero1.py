"""ZeRO-1: the ranks of a data group that shard the optimizer state."""

from collections.abc import Iterator

from pgregistry import FULL, Mode, Split, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """16 ranks, pipe=2 tensor=2 zero1=2: 0 4 | 1 5 | 2 6 | 3 7 | 8 12 | 9 13 | 10 14 | 11 15."""
    yield Mode("zero1", over=Split("data", inner="zero1", size=FULL))
