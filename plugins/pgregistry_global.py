"""All ranks: the default process group itself."""

from collections.abc import Iterator

from pgregistry import WORLD, Mode, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """16 ranks: 0 to 15."""
    yield Mode("global", over=WORLD)
