"""Expert parallelism: the ranks that share the experts of a layer, and those that hold the same experts."""

from collections.abc import Iterator

from pgregistry import Mode, Split, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, tensor=2 expert=2: expert 0 2 | 1 3 | 4 6 | 5 7, expert_data 0 4 | 1 5 | 2 6 | 3 7."""
    experts = Split("data", inner="expert")
    yield Mode("expert", over=experts)
    yield Mode("expert_data", over=experts.outer)
