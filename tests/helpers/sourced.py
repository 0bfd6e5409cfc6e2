"""Plans from settings of any source, and the errors of such plans."""

from __future__ import annotations

from typing import Any

import pytest

from pgregistry import ConfigError, Plan
from pgregistry.planning.planner import Planner


def planned(world_size: int = 8, environ: dict[str, str] | None = None, typed: Any = None, **keywords: Any) -> Plan:
    return Planner.read(world_size, keywords, command_line=typed, environ=environ or {}).plan()


def refusal(world_size: int = 8, environ: dict[str, str] | None = None, typed: Any = None, **keywords: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(world_size, environ, typed, **keywords)
    return str(caught.value)
