"""Each rank alone: the mode of code outside every parallelism."""

from collections.abc import Iterator

from pgregistry import Mode, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """4 ranks: 0 | 1 | 2 | 3."""
    yield Mode("dummy", over=())
