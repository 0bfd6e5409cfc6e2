"""Tensor parallelism: the ranks that hold slices of the same layer."""

from collections.abc import Iterator

from pgregistry import Axis, Mode, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, tensor=2: 0 1 | 2 3 | 4 5 | 6 7."""
    yield Mode("tensor", over=Axis("tensor"))
