"""A plugin that does not load, or whose functions pluggy would ignore, is named with the way out."""

from __future__ import annotations

from typing import Any

import pytest
from acme_plugin import ACME, GOOD, HEAD, POINT, refusal

import pgregistry
from pgregistry import PluginError


def test_a_plugin_can_be_an_object(acme: Any) -> None:
    acme(f"{HEAD}class Plugin:\n    @hookimpl\n    def pgregistry_modes(self):\n        yield Mode('acme', over=())\n"
         "plugin = Plugin()\n", attribute=":plugin")  # fmt: skip
    assert list(pgregistry.plan(2)["acme"].groups) == [(0,), (1,)]


BROKEN = [
    ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ("from pgregistry import Nothing", "ImportError: cannot import name 'Nothing' from 'pgregistry'"),
    ("x = 1 +", "SyntaxError: invalid syntax (acme_plugin.py, line 1)"),
    ("import sys; sys.exit(3)", "SystemExit: 3"),
    ("raise KeyError('a')", "KeyError: 'a'"),
]


@pytest.mark.parametrize(("source", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_plugin_that_does_not_load_is_named_with_its_distribution(source: str, reason: str, acme: Any) -> None:
    acme(source)
    text = refusal(PluginError)
    assert text.startswith(f"{POINT} does not load: {reason}")


def test_an_entry_point_to_nothing_does_not_load(acme: Any) -> None:
    acme(GOOD, attribute=":gone")
    assert refusal(PluginError) == (
        f"{ACME} (entry point pgregistry: acme = acme_plugin:gone) does not load: "
        f"AttributeError: module 'acme_plugin' has no attribute 'gone'"
    )


def test_a_load_error_keeps_its_cause(acme: Any) -> None:
    acme("raise KeyError('a')")
    with pytest.raises(PluginError) as caught:
        pgregistry.plan(4)
    assert isinstance(caught.value.__cause__, KeyError)


def test_two_plugins_that_do_not_load_are_both_named(acme: Any, distribution: Any) -> None:
    acme("raise KeyError('a')")
    distribution("pgregistry-other", {"other": "other_plugin"}, {"other_plugin.py": "raise KeyError('b')"})
    text = refusal(PluginError)
    assert text.startswith(f"2 problems:\n- {POINT} does not load: KeyError: 'a'\n")
    assert "\n- plugin 'other', pgregistry-other 0.1 (" in text


def test_a_class_given_for_an_object_is_refused(acme: Any) -> None:
    acme(
        f"{HEAD}class Plugin:\n    @hookimpl\n    def pgregistry_modes(self):\n        return []\n", attribute=":Plugin"
    )
    assert refusal(PluginError) == (
        f"{ACME} (entry point pgregistry: acme = acme_plugin:Plugin) is a class; "
        f"a plugin must be a module or an object. "
        f"Write `plugin = Plugin()` in acme_plugin, and name `acme_plugin:plugin`."
    )


NOT_HOOKS = [
    (
        "@hookimpl\ndef pgregistry_mode():\n    return []\n",
        " implements 'pgregistry_mode', which is not a hook. Did you mean 'pgregistry_modes'?",
    ),
    (
        "@hookimpl\ndef modes():\n    return []\n",
        (
            " implements 'modes', which is not a hook. There are pgregistry_check, pgregistry_commands, "
            "pgregistry_modes, pgregistry_process_group_options, pgregistry_ready and pgregistry_settings."
        ),
    ),
    (
        "def pgregistry_modes():\n    return []\n",
        " has a function 'pgregistry_modes' without @hookimpl. Mark it, or give it another name.",
    ),
    (
        "@hookimpl\ndef pgregistry_modes():\n    return []\ndef pgregistry_modus():\n    return []\n",
        " has a function 'pgregistry_modus' without @hookimpl. Mark it, or give it another name.",
    ),
    (
        "",
        (
            " implements no hook (pgregistry_check, pgregistry_commands, pgregistry_modes, "
            "pgregistry_process_group_options, pgregistry_ready or pgregistry_settings)."
        ),
    ),
    (
        "@hookimpl\ndef pgregistry_check(plans):\n    return []\n",
        (
            " is not valid: Plugin 'acme' for hook 'pgregistry_check' hookimpl definition: pgregistry_check(plans) "
            "Argument(s) {'plans'} are declared in the hookimpl but can not be found in the hookspec"
        ),
    ),
]


@pytest.mark.parametrize(("source", "text"), NOT_HOOKS, ids=[text for _, text in NOT_HOOKS])
def test_what_pluggy_would_pass_over_is_refused(source: str, text: str, acme: Any) -> None:
    acme(HEAD + source)
    assert refusal(PluginError) == f"{POINT}{text}"


SPECNAME = "@hookimpl(specname='{}')\ndef declare():\n    yield Mode('acme', over=())\n"


def test_a_function_of_another_name_can_say_which_hook_it_is(acme: Any) -> None:
    acme(HEAD + SPECNAME.format("pgregistry_modes"))
    assert list(pgregistry.plan(2)["acme"].groups) == [(0,), (1,)]


def test_a_function_that_says_a_hook_that_is_none_is_refused(acme: Any) -> None:
    acme(HEAD + SPECNAME.format("pgregistry_mode"))
    text = " implements 'pgregistry_mode', which is not a hook. Did you mean 'pgregistry_modes'?"
    assert refusal(PluginError) == f"{POINT}{text}"


def test_two_functions_for_one_hook_are_refused(acme: Any) -> None:
    first = SPECNAME.format("pgregistry_modes")
    acme(f"{HEAD}{first}@hookimpl\ndef pgregistry_modes():\n    yield Mode('other', over=())\n")
    assert refusal(PluginError) == (
        f"{POINT} has two functions for 'pgregistry_modes': 'declare' and 'pgregistry_modes'. "
        f"A plugin must have one for each hook: make them one function."
    )


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused(kind: str, acme: Any) -> None:
    acme(f"{HEAD}@hookimpl({kind}=True)\ndef pgregistry_modes():\n    return (yield)\n")
    assert refusal(PluginError) == (
        f"{POINT} implements 'pgregistry_modes' with {kind}=True, which is not supported: "
        f"each plugin is called separately. Remove it."
    )


PROPERTY = """
class Plugin:
    @property
    def broken(self):
        raise {}

    @hookimpl
    def pgregistry_modes(self):
        yield Mode('acme', over=())

plugin = Plugin()
"""


@pytest.mark.parametrize("error", ["OSError('no disk')", "AttributeError('not yet')", "KeyboardInterrupt"])
def test_properties_of_an_object_are_not_run(error: str, acme: Any) -> None:
    acme(HEAD + PROPERTY.format(error), attribute=":plugin")
    assert "acme" in pgregistry.plan(4)
