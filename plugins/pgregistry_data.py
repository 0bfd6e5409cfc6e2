"""Data parallelism: the ranks that hold the same weights and see different samples."""

from collections.abc import Iterator

from pgregistry import REST, Axis, Mode, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """16 ranks, pipe=2 tensor=2: 0 4 8 12 | 1 5 9 13 | 2 6 10 14 | 3 7 11 15."""
    yield Mode("data", over=Axis("data", size=REST, outside=("pipe", "tensor")))
