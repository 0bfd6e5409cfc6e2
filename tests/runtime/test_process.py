"""The run's settings beside the plan: one form for all ways to write them, and refusals by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pgregistry import ConfigError
from pgregistry.errors import Problems
from pgregistry.runtime.arguments import Arguments
from pgregistry.runtime.process import InitOptions
from pgregistry.settings.merge import read_settings


def options(environ: dict[str, str] | None = None, **keywords: Any) -> InitOptions:
    problems = Problems()
    settings = read_settings(problems, keywords=keywords, environ=environ or {})
    problems.raise_any()
    return InitOptions.of(settings)


def test_settings_have_one_form_however_they_are_written() -> None:
    written = (
        options(backend="gloo", timeout=60.0, device=None),
        options(backend="GLOO", timeout=60, device="cpu"),
        options(backend="Gloo", timeout=60, device=torch.device("cpu", 0)),
        options({"PGREGISTRY_BACKEND": "Gloo", "PGREGISTRY_TIMEOUT": "6e1", "PGREGISTRY_CPU": "0"}),
    )
    assert len(set(written)) == 1


def test_what_is_not_given_has_its_default() -> None:
    assert options(agree_timeout=None, cpu=None) == InitOptions(None, None, None, False, 300, 300, 300, None)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"timeout": -1}, "timeout = -1 (keyword) must be a number of seconds from 0.001 to 31622400."),
        ({"timeout": True}, "timeout = True (keyword) must be a number of seconds from 0.001 to 31622400."),
        ({"build_timeout": float("nan")}, "build_timeout = nan (keyword) must be a number of seconds from 0.001 to"),
        ({"cpu": 1}, "cpu = 1 (keyword) must be true or false."),
        ({"backend": ""}, "backend = '' (keyword) must be the name of a torch backend, such as 'gloo'."),
        ({"device": "warp"}, "device = 'warp' (keyword) must be a torch device: "),
        (
            {"device": "cuda:99"},
            "device = 'cuda:99' (keyword) must be a device that torch finds on this host",
        ),
        ({"device": "meta"}, "device = 'meta' (keyword) must be a device that torch finds on this host"),
        ({"backend": "glo"}, "backend = 'glo' (keyword) must be a backend that torch knows. "),
        (
            {"backend": "cpu:gloo,cuda:ncl"},
            "backend = 'cpu:gloo,cuda:ncl' (keyword) must be a backend that torch knows. ",
        ),
        ({"expect": 5}, "expect = 5 (keyword) must be a fingerprint, or the path of a plan's JSON."),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        options(**given)
    assert str(raised.value).startswith(text)


@pytest.mark.parametrize(("given", "seconds"), [(5, 5), (-1, 300), (None, 300), ("soon", 300), (float("inf"), 300)])
def test_a_rank_with_a_wrong_agree_timeout_waits_as_long_as_by_default(given: Any, seconds: float) -> None:
    settings = Arguments({"agree_timeout": given, "tensor": "x"}).only("agree_timeout", Problems())
    assert InitOptions.patient(settings).agree_timeout == seconds
