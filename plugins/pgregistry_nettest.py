"""Network test: runs of neighbouring ranks, to find a slow part of the network."""

from collections.abc import Iterator

from pgregistry import WORLD, Mode, Split, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, nettest=3: 0 1 2 | 3 4 5 | 6 7. Dedicated, so that a test disturbs no training."""
    yield Mode("nettest", over=Split(WORLD, inner="nettest", size=32, ragged=True), dedicated=True)
