"""Plugins declare settings under names that nothing else has; what is no declaration is an error of the plugin."""

from __future__ import annotations

from typing import Any

import pytest
from acme_plugin import ACME, refusal

import pgregistry
from pgregistry import Axis, Mode, PluginError

HEAD = "from pgregistry import Axis, Mode, Setting, hookimpl\n"


def settings_hook(body: str, rest: str = "") -> str:
    """Return the source of a plugin with this body of `pgregistry_settings`."""
    return f"{HEAD}\n@hookimpl\ndef pgregistry_settings():\n    {body}\n{rest}"


MODES = "@hookimpl\ndef pgregistry_modes():\n    yield Mode('acme', over=Axis('heads'))\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("yield 5", ": pgregistry_settings yielded 5, which is not a Setting; yield each Setting."),
        ("yield Mode('m', over=())", None),
        ("return 5", ": pgregistry_settings returned 5; yield each Setting."),
        ("1 // 0; yield", " raised ZeroDivisionError in pgregistry_settings: integer division or modulo by zero"),
        ("yield Setting('a b', 1)", None),
    ],
)
def test_what_yields_no_settings_is_an_error_of_the_plugin(body: str, text: str | None, acme: Any) -> None:
    acme(settings_hook(body))
    found = refusal(PluginError)
    assert found.startswith(ACME)
    assert text is None or found == f"{ACME}{text}"


@pytest.mark.parametrize("source", [settings_hook("yield Setting('heads', 8)")], ids=["alone"])
def test_a_plugin_may_declare_settings_alone(source: str, acme: Any) -> None:
    acme(source)
    assert pgregistry.plan(4, heads=2).settings == {"heads": 2}
    assert pgregistry.plan(4, disable=["acme"]).settings == {}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("timeout", "a parameter of plan() or init(), which is reserved"),
        ("watch", "a parameter of plan() or init(), which is reserved"),
        ("size", "a key in the table of a mode, which is reserved"),
        ("options", "a key in the table of a mode, which is reserved"),
        ("dedicated", "a key in the table of a mode, which is reserved"),
        ("tensor", "size 'tensor' of mode 'tensor' (plugin 'tensor', pgregistry 0.1.0)"),
        ("zero1", "size 'zero1' of mode 'zero1' (plugin 'zero1', pgregistry 0.1.0)"),
        ("model", "mode 'model'"),
    ],
)
def test_a_setting_with_the_name_of_something_else_is_refused_with_both(name: str, other: str, acme: Any) -> None:
    acme(settings_hook(f"yield Setting({name!r}, 8)"))
    assert refusal(PluginError) == f"setting {name!r} of {ACME} has the name of {other}; rename one."


def test_a_setting_with_the_name_of_a_size_of_its_own_plugin_is_refused(acme: Any) -> None:
    acme(settings_hook("yield Setting('heads', 8)", MODES))
    assert refusal(PluginError) == (
        f"setting 'heads' of {ACME} has the name of size 'heads' of mode 'acme' ({ACME}); rename one."
    )


def test_two_settings_of_one_name_are_refused_with_both_plugins(acme: Any, installed_plugin: Any) -> None:
    acme(settings_hook("yield Setting('heads', 8)"))
    body = settings_hook("yield Setting('heads', 4)")
    installed_plugin("pgregistry-zeta", {"zeta": "zeta_plugin"}, {"zeta_plugin.py": body}, version="0.1")
    assert refusal(PluginError) == (
        f"setting 'heads' of plugin 'zeta', pgregistry-zeta 0.1 has the name of setting 'heads' of {ACME}; rename one."
    )


def test_a_setting_may_have_the_name_of_a_mode_or_size_that_is_off(acme: Any) -> None:
    acme(settings_hook("yield Setting('nettest', 8)"))
    assert pgregistry.plan(4, disable=["nettest"], nettest=4).settings == {"nettest": 4}


def test_a_mode_of_the_user_with_the_name_of_a_setting_is_refused(acme: Any) -> None:
    acme(settings_hook("yield Setting('heads', 8)"))
    text = refusal(PluginError, extra=[Mode("m", over=Axis("heads"))])
    assert text == f"setting 'heads' of {ACME} has the name of size 'heads' of mode 'm' (plugin 'extra'); rename one."
