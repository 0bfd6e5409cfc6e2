"""Model parallelism: the ranks that together hold one copy of the weights."""

from collections.abc import Iterator

from pgregistry import Mode, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, pipe=2 tensor=2: 0 1 2 3 | 4 5 6 7."""
    yield Mode("model", over=("pipe", "tensor"))
