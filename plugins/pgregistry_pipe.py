"""Pipeline parallelism: the ranks that hold the layers of one model, stage after stage."""

from collections.abc import Iterator

from pgregistry import Axis, Mode, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, pipe=2 tensor=2: 0 2 | 1 3 | 4 6 | 5 7."""
    yield Mode("pipe", over=Axis("pipe", outside="tensor"))
