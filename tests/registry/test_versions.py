"""One plugin serves several versions of pgregistry, and what the core gives up is said once, with the plugin's name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from acme_plugin import ACME, GOOD, HEAD, POINT, modes_hook, refusal

import pgregistry
from pgregistry import PluginError, hookspecs

LATER = "@hookimpl(optionalhook=True)\ndef pgregistry_later(plan, weather):\n    raise OSError\n"
CHECK = "@hookimpl\ndef pgregistry_check(plan):\n    return []\n"


def test_an_optional_hook_of_another_core_is_passed_over_and_the_others_count(acme: Any) -> None:
    acme(GOOD + LATER)
    assert list(pgregistry.plan(2)["acme"].groups) == [(0,), (1,)]


def test_a_plugin_for_another_core_alone_is_on_and_does_nothing(acme: Any) -> None:
    acme(HEAD + LATER)
    assert pgregistry.plan(4).modes == pgregistry.plan(4, disable=["acme"]).modes


def test_an_optional_hook_of_this_core_is_called_and_checked_as_any_other(acme: Any) -> None:
    acme(modes_hook("yield Mode('acme', over=())").replace("@hookimpl", "@hookimpl(optionalhook=True)"))
    assert "acme" in pgregistry.plan(2)
    acme(f"{HEAD}@hookimpl(optionalhook=True)\ndef pgregistry_check(plans):\n    return []\n")
    assert refusal(PluginError).startswith(f"{POINT} is not valid: ")


def test_without_optionalhook_a_hook_of_another_core_is_refused(acme: Any) -> None:
    acme(GOOD + LATER.replace("(optionalhook=True)", ""))
    assert refusal(PluginError).startswith(f"{POINT} implements 'pgregistry_later', which is not a hook. ")


@pytest.fixture
def give_up(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare a hook as the core would that gives it up, or an argument of it, in the words of pluggy."""

    def declare(**options: Any) -> None:
        def pgregistry_check(plan: object) -> Iterable[str]:
            return ()

        monkeypatch.setattr(hookspecs, "pgregistry_check", hookspecs.hookspec(**options)(pgregistry_check))

    return declare


SOON = "it goes in version 2; yield the sentences in pgregistry_modes."


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"warn_on_impl": FutureWarning(SOON)}, f"{ACME} implements pgregistry_check: {SOON}"),
        (
            {"warn_on_impl_args": {"plan": FutureWarning(SOON), "world": FutureWarning("never")}},
            f"{ACME} implements pgregistry_check with 'plan': {SOON}",
        ),
    ],
    ids=["hook", "argument"],
)
def test_what_is_deprecated_is_said_once_with_the_plugin_that_uses_it(
    options: Any, text: str, acme: Any, distribution: Any, give_up: Callable[..., None]
) -> None:
    folder = acme(GOOD + CHECK)
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": HEAD + SILENT})
    give_up(**options)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        plans = [pgregistry.plan(4) for _ in range(3)]
    assert [(one.category, str(one.message)) for one in said] == [(FutureWarning, text)]
    assert (said[0].filename, said[0].lineno) == (f"{folder}/acme_plugin.py", 6)
    assert all("acme" in plan for plan in plans)


SILENT = "@hookimpl\ndef pgregistry_modes():\n    yield Mode('other', over=())\n"


def test_a_deprecation_that_python_raises_is_an_error_of_the_plugin(acme: Any, give_up: Callable[..., None]) -> None:
    acme(GOOD + CHECK)
    give_up(warn_on_impl=DeprecationWarning(SOON))
    assert refusal(PluginError) == f"{POINT} is not valid: {ACME} implements pgregistry_check: {SOON}"


def test_nothing_is_said_of_a_plugin_that_is_off(acme: Any, give_up: Callable[..., None]) -> None:
    acme(GOOD + CHECK)
    give_up(warn_on_impl=FutureWarning(SOON))
    assert "acme" not in pgregistry.plan(4, disable=["acme"])


def test_a_bound_method_is_named_like_a_function(acme: Any, give_up: Callable[..., None]) -> None:
    method = "    @hookimpl\n    def pgregistry_check(self, plan):\n        return []\n"
    acme(f"{HEAD}class Plugin:\n{method}plugin = Plugin()\n", attribute=":plugin")
    give_up(warn_on_impl=FutureWarning(SOON))
    with pytest.warns(FutureWarning, match=f"^{re.escape(ACME)} implements pgregistry_check: it"):
        pgregistry.plan(4)
