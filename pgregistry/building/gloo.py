"""How gloo is told to find its peers with few store calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: gloo asks for all addresses of a group at once, and addresses do not grow with the group. All
#: ranks set them alike, so they belong to what ranks agree on by building in the same way.
GLOO: Final = {"GLOO_ENABLE_STORE_V2_API": "1", "GLOO_ENABLE_RANK_AS_SEQUENCE_NUMBER": "1"}


@contextmanager
def gloo_environment() -> Iterator[None]:
    """Have gloo make few store calls, for what is made inside."""
    before = {name: os.environ.get(name) for name in GLOO}
    os.environ.update(GLOO)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
