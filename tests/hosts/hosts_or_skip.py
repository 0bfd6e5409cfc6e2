"""The hosts of a module's tests, which are skipped by name where the machine allows none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bed import Bed, hosts, why_not


def hosts_or_skip(count: int, rate: str | None = None) -> Iterator[Bed]:
    """Yield a bed of some hosts for a fixture, or skip the tests with what the machine said."""
    if reason := why_not():
        pytest.skip(reason)
    with hosts(count, rate) as bed:
        yield bed
