"""Plugins are loaded only if they are on; two of one name are an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import ACME, GOOD, POINT, WAY_OUT, modes_hook, refusal, whole_refusal

import pgregistry
from pgregistry import ConfigError, PluginError
from pgregistry.errors import Problems
from pgregistry.planning.planner import Planner
from pgregistry.registry import discovery
from pgregistry.registry.manager import Registry

ROOT = Path(__file__).parents[2]


def load(**keywords: Any) -> Registry:
    return Registry.read(Problems(), keywords=keywords, environ={})


def statuses(**keywords: Any) -> dict[str, tuple[str, str | None]]:
    return {status.installed.plugin.name: (status.name, status.reason) for status in load(**keywords).statuses}


def test_an_optional_plugin_is_found_and_off_until_enabled_or_in_only(acme: Any) -> None:
    acme(GOOD, optional=True)
    reason = "off until enabled (entry point group pgregistry.optional)"
    assert statuses()["acme"] == ("disabled", reason)
    assert "acme_plugin" not in sys.modules
    assert "acme" in pgregistry.plan(4, enable=["acme"])
    assert pgregistry.plan(4, only=["acme"]).modes == ("acme",)
    assert "acme" not in pgregistry.plan(4, enable=["acme"], disable=["acme"])


def test_without_any_plugin_the_error_says_how_to_install() -> None:
    with pytest.raises(PluginError) as caught:
        Planner.read(4, {}, environ={}, installed=()).plan()
    text = str(caught.value)
    assert text.startswith("No mode plugins are installed. pgregistry is imported from ")
    assert text.endswith(f" without being installed; run `pip install -e {ROOT}`.")


@pytest.mark.parametrize("switch", [{"disable": ["acme"]}, {"only": ["tensor"]}], ids=["disable", "only"])
@pytest.mark.parametrize("source", [GOOD, "raise RuntimeError", "def x(:"], ids=["good", "broken", "no Python"])
def test_a_plugin_that_is_off_is_not_imported_and_cannot_fail(source: str, switch: Any, acme: Any) -> None:
    acme(source)
    assert "acme" not in pgregistry.plan(4, **switch)
    assert "acme_plugin" not in sys.modules


def test_a_plugin_that_is_on_is_imported(acme: Any) -> None:
    acme(GOOD)
    pgregistry.plan(4, only=["acme"])
    assert "acme_plugin" in sys.modules


def test_a_status_says_what_became_of_each_plugin_and_why(acme: Any) -> None:
    acme("raise RuntimeError")
    said = statuses(disable=["tensor"])
    assert (said["acme"], said["tensor"], said["data"]) == (
        ("failed", None),
        ("disabled", "disabled (keyword)"),
        ("active", None),
    )
    assert statuses(only=["data"])["tensor"] == ("disabled", "not in only (keyword)")


def test_two_plugins_of_one_name_are_refused_with_both_distributions(acme: Any, distribution: Any) -> None:
    acme(GOOD)
    distribution("pgregistry-other", {"acme": "other_plugin"}, {"other_plugin.py": GOOD}, version="2")
    assert refusal(PluginError) == (
        f"2 plugins are called 'acme': {POINT} and "
        "plugin 'acme', pgregistry-other 2 (entry point pgregistry: acme = other_plugin).\n"
        "Uninstall all but one, or leave them out with disable=['acme']."
    )
    assert not {"acme_plugin", "other_plugin"} & set(sys.modules)


@pytest.mark.parametrize("switch", [{"disable": ["acme"]}, {"only": ["tensor"]}], ids=["disable", "only"])
def test_two_plugins_of_one_name_are_no_error_where_they_are_off(switch: Any, acme: Any, distribution: Any) -> None:
    acme(GOOD)
    distribution("pgregistry-other", {"acme": "other_plugin"}, {"other_plugin.py": GOOD})
    assert "acme" not in pgregistry.plan(4, **switch)


def test_an_optional_plugin_may_have_a_name_that_is_taken_until_it_is_enabled(acme: Any, distribution: Any) -> None:
    acme(GOOD)
    distribution("pgregistry-other", {"acme": "other_plugin"}, {"other_plugin.py": GOOD}, optional=True)
    assert "acme" in pgregistry.plan(4)
    assert refusal(PluginError, enable=["acme"]).startswith("2 plugins are called 'acme': ")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("yield Mode('tensor', over=())", "mode 'tensor'"),
        ("yield Mode('acme', over=Axis('tensor'))", "size 'tensor'"),
        ("yield Mode('acme', over=Split('data', inner='tensor'))", "size 'tensor'"),
    ],
)
def test_two_plugins_cannot_declare_one_mode_or_one_size(body: str, what: str, acme: Any) -> None:
    acme(modes_hook(body))
    assert refusal(PluginError) == (
        f"{what} is declared by {ACME} and by plugin 'tensor', pgregistry 0.1.0.\n"
        "Uninstall one, or leave one out with disable=['acme'] or disable=['tensor']; "
        "to use what another plugin declares, refer to it by name."
    )


@pytest.mark.parametrize("name", ["order", "extra", "within", "timeout"])
def test_a_plugin_cannot_be_called_like_a_parameter(name: str, acme: Any) -> None:
    acme(GOOD, name=name)
    assert refusal(PluginError) == (
        f"plugin '{name}', pgregistry-acme 0.1 has the name of a parameter of plan() or init(), which is reserved."
    )


@pytest.fixture
def with_hsdp(distribution: Any) -> None:
    """Install a distribution pgregistry with a plugin of each group, whatever else is installed under that name."""
    points = {"data": "pgregistry_data", "tensor": "pgregistry_tensor"}
    (file,) = distribution("pgregistry", points, {}, version="0.1.0").glob("*/entry_points.txt")
    file.write_text(f"{file.read_text()}\n[pgregistry.optional]\nhsdp = pgregistry_hsdp\n")


@pytest.mark.parametrize("origin", ["keyword", "command line", "PGREGISTRY_ONLY", "file"])
def test_only_bundled_is_what_ships_and_is_on_when_installed(
    origin: str, with_hsdp: None, acme: Any, toml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme("raise RuntimeError")
    if origin == "PGREGISTRY_ONLY":
        monkeypatch.setenv(origin, "bundled")
    given = {"keyword": {"only": ["bundled"]}, "file": {"config": toml("only = ['bundled']")}}.get(origin, {})
    typed = {"only": "bundled"} if origin == "command line" else {}
    plan = Planner.read(4, given, command_line=typed).plan()
    assert plan.modes == ("data", "tensor")
    assert "acme_plugin" not in sys.modules


def test_only_bundled_goes_with_other_names_and_switches(with_hsdp: None, acme: Any) -> None:
    acme(GOOD)
    assert pgregistry.plan(4, only=["bundled", "acme"]).modes == ("acme", "data", "tensor")
    assert pgregistry.plan(4, only=["bundled"], enable=["acme"]).modes == ("acme", "data", "tensor")
    assert pgregistry.plan(4, only=["bundled"], disable=["tensor"]).modes == ("data",)
    assert pgregistry.plan(4, only=["bundled", "hsdp"], ranks_per_host=2).sizes["shard"] == 2
    assert statuses(only=["bundled"])["acme"] == ("disabled", "not in only (keyword)")


@pytest.mark.parametrize("switch", ["enable", "disable"])
def test_bundled_is_a_word_of_only_alone(switch: str) -> None:
    assert refusal(ConfigError, **{switch: ["bundled"]}) == (
        f"{switch}: no plugin is called 'bundled' (keyword). "
        "'bundled' has a meaning in only= alone: the plugins that ship with pgregistry."
    )


def test_a_misspelt_bundled_is_answered_with_the_word() -> None:
    assert refusal(ConfigError, only=["bundeld"]).endswith("Did you mean 'bundled'?")


@pytest.mark.parametrize("optional", [False, True], ids=["on", "optional"])
def test_a_plugin_cannot_be_called_bundled(optional: bool, acme: Any) -> None:
    acme(GOOD, name="bundled", optional=optional)
    group = "pgregistry.optional" if optional else "pgregistry"
    assert refusal(PluginError, enable=["bundled"]) == (
        f"plugin 'bundled', pgregistry-acme 0.1 (entry point {group}: bundled = acme_plugin) must have another name: "
        "in only=, 'bundled' is the plugins that ship with pgregistry. Rename it."
    )
    assert "acme" not in pgregistry.plan(4, disable=["bundled"])
    assert "acme" not in pgregistry.plan(4, only=["bundled"])


@pytest.mark.parametrize("name", ["my ring", "a,b", "tab\tbed"])
def test_a_name_that_nobody_could_type_is_refused_and_the_distributions_name_disables_it(name: str, acme: Any) -> None:
    acme(GOOD, name=name)
    text = whole_refusal(PluginError)
    assert text.startswith(f"plugin {name!r}, pgregistry-acme 0.1 (entry point pgregistry: ")
    assert "must have a name without spaces and commas, which separate names on the command line. Rename it." in text
    assert WAY_OUT.replace("acme", "pgregistry-acme") in text
    assert "acme" not in pgregistry.plan(4, disable=["pgregistry-acme"])
    assert "acme" not in pgregistry.plan(4, disable=[name])


REPLACEMENT = "yield Mode('tensor', over=Axis('tensor', size=2))"


def test_a_plugin_of_another_name_replaces_a_bundled_one_that_is_off(acme: Any) -> None:
    acme(modes_hook(REPLACEMENT), name="fast_tensor")
    plan = pgregistry.plan(8, disable=["tensor"])
    assert str(plan["tensor"].plugin) == "plugin 'fast_tensor', pgregistry-acme 0.1"
    assert list(plan["tensor"].groups) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert list(plan["model"].groups) == list(plan["tensor"].groups)
    assert list(plan["data"].groups) == [(0, 2, 4, 6), (1, 3, 5, 7)]
    assert pgregistry.plan(8, disable=["tensor"], tensor=4).sizes["data"] == 2


def test_a_plugin_of_the_name_of_a_bundled_one_is_told_how_to_replace_it(acme: Any) -> None:
    acme(modes_hook(REPLACEMENT), name="tensor")
    assert refusal(PluginError).endswith(
        "\nRename the other one; disable=['tensor'] then leaves out the bundled one alone."
    )


def test_only_bundled_without_any_of_them_says_how_to_install_them(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    acme(GOOD)
    found = [one for one in discovery.discover() if one.plugin.name == "acme"]
    with pytest.raises(ConfigError) as caught:
        Planner.read(4, {"only": ["bundled"]}, environ={}, installed=tuple(found)).plan()
    head = "only: no plugin is called 'bundled' (keyword). None of the bundled plugins is installed. "
    assert str(caught.value).startswith(head)
