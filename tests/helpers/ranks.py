"""Run a function on several real ranks: `run_ranks(4, function)`, all from one process with torch."""

from collections.abc import Callable
from functools import cache
from typing import Any

from pgregistry.testing import LocalRanks

local_ranks = cache(LocalRanks)


def run_ranks(
    count: int, function: Callable[..., Any], *args: Any, world: bool = True, timeout: float = 60, env: Any = None
) -> list[Any]:
    """What the function returned on each rank; when one fails, the others have all of the time."""
    return local_ranks().run(count, function, *args, world=world, timeout=timeout, grace=timeout, env=env)
