"""The run's settings beside the plan: one form for all ways to write them, and refusals by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pgregistry import ConfigError
from pgregistry.runtime.process import InitOptions


def test_settings_have_one_form_however_they_are_written() -> None:
    written = (
        InitOptions(backend="gloo", timeout=60.0, device=None),
        InitOptions(backend="GLOO", timeout=60, device="cpu"),
        InitOptions(backend="Gloo", timeout=60, device=torch.device("cpu", 0)),
    )
    assert len({options.checked() for options in written}) == 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"timeout": -1}, "init() has timeout=-1; it must be a number of seconds from 0.001 to"),
        ({"timeout": True}, "init() has timeout=True; it must be"),
        ({"agree_timeout": None}, "init() has agree_timeout=None; it must be a number of seconds"),
        ({"build_timeout": float("nan")}, "init() has build_timeout=nan; it must be"),
        ({"cpu": 1}, "init() has cpu=1; it must be True or False"),
        ({"backend": ""}, "init() has backend=''; it must be the name of a torch backend"),
        ({"device": "warp"}, "device = 'warp' is not a torch device: "),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        InitOptions(**given).checked()
    assert text in str(raised.value)


@pytest.mark.parametrize(("given", "seconds"), [(5, 5), (-1, 300), (None, 300), ("soon", 300), (float("inf"), 300)])
def test_a_rank_with_a_wrong_agree_timeout_waits_as_long_as_by_default(given: Any, seconds: float) -> None:
    assert InitOptions(agree_timeout=given).patience() == seconds
