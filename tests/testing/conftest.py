"""A fixture for tests of what is said of a plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plugin_sources import Install

from pgregistry.testing.subject import Subject


@pytest.fixture
def plugin(installed_plugin: Install, run_ranks: Callable[..., list[Any]]) -> Callable[..., Subject]:
    """Install a plugin `acme` of this source, to look at it."""

    def install(source: str, optional: bool = False, **how: Any) -> Subject:
        installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source}, optional=optional)
        return Subject("acme", run_ranks=run_ranks, **how)

    return install
