"""A plugin under test: the plans it is tested with, and the plugins beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from plugin_sources import Install, modes, wrong

from pgregistry.testing.subject import Subject


def test_two_axes_that_nobody_nests_are_planned_in_an_order_that_a_user_could_say(plugin: Any) -> None:
    subject = plugin(modes("yield Mode('acme', over=Axis('acme'))"))
    assert wrong(subject, "groups_are_right") == []
    assert "order" in subject.case(8, {"acme": 2, "tensor": 2}).keywords


def test_what_is_looked_at_has_each_size_alone_and_several_at_once_and_is_the_same_every_time(plugin: Any) -> None:
    subject = plugin(modes("yield Mode('acme', over=Split('data', inner='acme'))"))
    sizes = [case.keywords for case in subject.cases if case.world == 24]
    assert all({"acme": size} in sizes for size in (2, 3, 4, 6, 8, 12))
    assert {} in sizes
    assert any(len(said) > 1 and "acme" in said for said in sizes)
    assert list(map(str, subject.cases)) == list(map(str, replace(subject).cases))


def test_sizes_to_try_can_be_given(plugin: Any) -> None:
    axis = "Axis('acme', inside='data')"
    subject = plugin(modes(f"yield Mode('acme', over={axis})"), sizes={"acme": (2, 3)}, worlds=(6, 8))
    assert [str(case) for case in subject.cases] == ["at 6 ranks, acme=2", "at 6 ranks, acme=3", "at 8 ranks, acme=2"]


def test_another_plugin_that_does_not_load_is_not_to_blame(plugin: Any, installed_plugin: Install) -> None:
    installed_plugin("pgregistry-broken", {"broken": "broken_plugin"}, {"broken_plugin.py": "1 / 0"})
    subject = plugin(modes("yield Mode('acme', over=())"))
    assert subject.switches["disable"] == ["broken"]
    assert wrong(subject, "it_loads") == []


@pytest.mark.parametrize("hook", ["pgregistry_modes", "pgregistry_settings"])
def test_another_plugin_that_cannot_declare_is_not_to_blame(hook: str, plugin: Any, installed_plugin: Install) -> None:
    source = f"from pgregistry import hookimpl\n@hookimpl\ndef {hook}():\n    raise SystemExit(3)\n"
    installed_plugin("pgregistry-broken", {"broken": "broken_plugin"}, {"broken_plugin.py": source})
    assert wrong(plugin(modes("yield Mode('acme', over=())")), "it_loads") == []
    (said,) = wrong(Subject("broken"), "it_loads")
    assert f"plugin 'broken', pgregistry-broken 0.1 raised SystemExit in {hook}: 3" in said


def test_the_name_of_a_distribution_or_module_is_answered_with_its_plugin(installed_plugin: Install) -> None:
    installed_plugin("my-ring", {"ring": "acme_ring"}, {"acme_ring.py": modes("yield Mode('ring', over=())")})
    assert wrong(Subject("my-ring"), "it_loads") == [
        "No plugin is called 'my-ring'. Distribution my-ring has the plugin 'ring'."
    ]
    assert wrong(Subject("acme_ring"), "it_loads") == [
        "No plugin is called 'acme_ring'. Module acme_ring has the plugin 'ring'."
    ]


def test_a_plugin_that_is_not_installed_is_an_error_with_a_suggestion() -> None:
    (said,) = wrong(Subject("tensr"), "it_loads")
    assert said == "No plugin is called 'tensr'. Did you mean 'tensor'?"


def test_the_name_of_a_mode_is_answered_with_its_plugin(installed_plugin: Install) -> None:
    installed_plugin("acme", {"lines": "acme_lines"}, {"acme_lines.py": modes("yield Mode('ring' + 's', over=())")})
    assert wrong(Subject("rings"), "it_loads") == [
        "No plugin is called 'rings'. It is a mode of plugin 'lines'; check that one."
    ]
    assert wrong(Subject("shard"), "it_loads") == [
        "No plugin is called 'shard'. It is a mode of plugin 'hsdp'; check that one."
    ]


def test_one_that_others_need_is_compared_without_those_that_need_it() -> None:
    assert Subject("tensor").needing == ["tensor", "model"]
    assert Subject("data").needing == ["data", "zero1"]
