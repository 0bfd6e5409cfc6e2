"""Tests for authors of plugins, without a cluster.

`PluginConformance` is a test class to subclass. `pgregistry check` runs the same tests without pytest.
The pytest plugin of pgregistry has the fixtures `installed_plugin` and `run_ranks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgregistry.testing.distribution import write_distribution
from pgregistry.testing.ranks.launch import launch_ranks
from pgregistry.testing.ranks.local_ranks import LocalRanks, RanksFailed, run_ranks

if TYPE_CHECKING:
    from pgregistry.testing.conformance import PluginConformance

__all__ = ["LocalRanks", "PluginConformance", "RanksFailed", "launch_ranks", "run_ranks", "write_distribution"]


def __getattr__(name: str) -> Any:
    if name == "PluginConformance":  # needs pytest; `pgregistry check` does not
        from pgregistry.testing.conformance import PluginConformance

        return PluginConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
