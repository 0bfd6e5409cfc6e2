"""`plugins=` names modules and objects that are not installed: all hooks count, and the switches apply by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import modes_hook
from sourced import planned

import pgregistry
from pgregistry import ConfigError, Mode, PgregistryError, PluginError, hookimpl

SOURCE = modes_hook("yield Mode('ring', over=Axis('ring', inside='data'))") + (
    "@hookimpl\ndef pgregistry_check(plan):\n    if plan.sizes['ring'] > 4:\n        yield 'ring must be at most 4.'\n"
    "class Other:\n    @hookimpl\n    def pgregistry_modes(self):\n        yield Mode('other', over=())\n"
    "other = Other()\n"
)


@dataclass
class Late:
    """A plugin with fields, which has no hash."""

    name: str = "late"

    @hookimpl
    def pgregistry_modes(self) -> Iterator[Mode]:
        yield Mode(self.name, over=())


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the package lab of a training repository, and add its folder to `sys.path`."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").touch()
    (tmp_path / "lab" / "pgregistry_ring.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def refusal(kind: type[PgregistryError], environ: Any = None, **keywords: Any) -> str:
    with pytest.raises(kind) as caught:
        planned(8, environ, **keywords)
    return str(caught.value)


def test_a_module_is_named_in_every_source_by_its_last_word_without_the_prefix(lab: Path, toml: Any) -> None:
    module = importlib.import_module("lab.pgregistry_ring")
    config = toml("plugins = ['lab.pgregistry_ring']\n")
    plans = [
        planned(plugins=["lab.pgregistry_ring"], ring=2),
        planned(plugins="lab.pgregistry_ring", ring=2),
        planned(plugins=[module], ring=2),
        planned(environ={"PGREGISTRY_PLUGINS": "lab.pgregistry_ring"}, ring=2),
        planned(typed={"plugins": "lab.pgregistry_ring"}, ring=2),
        planned(config=config, ring=2),
    ]
    for plan in plans:
        assert (plan["ring"].plugin.name, list(plan["ring"].groups)) == ("ring", [(0, 1), (2, 3), (4, 5), (6, 7)])
    assert len({plan.fingerprint for plan in plans}) == 1


def test_plugins_add_up_over_the_sources_and_one_named_twice_is_one(lab: Path) -> None:
    environ = {"PGREGISTRY_PLUGINS": "lab.pgregistry_ring"}
    plan = planned(8, environ, {"plugins": "lab.pgregistry_ring"}, plugins=["lab.pgregistry_ring", Late()])
    assert {"ring", "late"} < set(plan.modes)
    module, late = importlib.import_module("lab.pgregistry_ring"), Late()
    plan = planned(8, environ, {"plugins": "lab.pgregistry_ring,lab.pgregistry_ring"}, plugins=[late, module, late])
    assert {"ring", "late"} < set(plan.modes)


def test_an_object_in_a_module_is_named_too(lab: Path) -> None:
    plan = planned(plugins=["lab.pgregistry_ring:other"])
    assert "other" in plan
    assert "ring" not in plan


def test_all_hooks_of_a_named_plugin_count(lab: Path) -> None:
    assert refusal(ConfigError, plugins=["lab.pgregistry_ring"], ring=8) == "plugin 'ring': ring must be at most 4."


def test_only_leaves_named_plugins_on_and_disable_switches_them_off_by_name(lab: Path) -> None:
    assert planned(plugins=["lab.pgregistry_ring"], only=["data"]).modes == ("data", "ring")
    assert "ring" not in planned(plugins=["lab.pgregistry_ring"], disable=["ring"])


def test_a_named_plugin_that_is_off_is_not_imported(lab: Path) -> None:
    (lab / "lab" / "broken.py").write_text("raise RuntimeError", encoding="utf-8")
    assert "data" in planned(plugins=["lab.broken"], disable=["broken"])


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("nowhere.modes", "plugin 'modes' (plugins = nowhere.modes, keyword) does not load: ModuleNotFoundError: No "),
        ("lab.pgregistry_ring:no", "plugin 'ring' (plugins = lab.pgregistry_ring:no, keyword) does not load: Attrib"),
        ("lab", "plugin 'lab' (plugins = lab, keyword) implements no hook (pgregistry_check, pgregistry_commands, "),
        ("lab.pgregistry_ring:Other", "plugin 'ring' (plugins = lab.pgregistry_ring:Other, keyword) is a class; a "),
    ],
)
def test_a_plugin_that_does_not_import_or_has_no_hooks_is_refused_with_its_origin(
    named: str, text: str, lab: Path
) -> None:
    found = refusal(PluginError, plugins=[named])
    assert found.startswith(text)
    folder = "" if named == "nowhere.modes" else f", found in {lab}"
    assert found.endswith(f"Named by plugins = {named} (keyword){folder}.")


def test_a_module_that_is_given_is_refused_with_its_folder(lab: Path) -> None:
    found = refusal(PluginError, plugins=[importlib.import_module("lab")])
    assert found.endswith(f"Named by plugins = lab (keyword), found in {lab / 'lab'}.")


def test_an_object_without_hooks_is_refused_with_its_class() -> None:
    found = refusal(PluginError, plugins=[object()])
    assert found.startswith("plugin 'builtins' (plugins = builtins:object, keyword) implements no hook")
    assert refusal(PluginError, plugins=[Late]).startswith("plugin 'test_named_plugins' (plugins = ")


@pytest.mark.parametrize("value", ["lab modes:", "3x", "lab..modes", "-x", "lab:"], ids=str)
def test_what_is_no_module_is_refused(value: str) -> None:
    assert "must be a module or MODULE:OBJECT, as lab.modes or lab.modes:plugin." in refusal(
        ConfigError, plugins=[value]
    )


@pytest.mark.parametrize("value", [5, True, 2.5], ids=str)
def test_what_is_no_list_of_plugins_is_refused(value: Any) -> None:
    rule = "must be a list of modules, as lab.modes or lab.modes:plugin, or of objects."
    assert refusal(ConfigError, plugins=value) == f"plugins = {value} (keyword) {rule}"


def test_a_file_names_modules_alone(toml: Any) -> None:
    config = toml("plugins = [5]\n")
    rule = "must be a list of modules, as lab.modes or lab.modes:plugin."
    assert refusal(ConfigError, config=config) == f"plugins = [5] ({config}) {rule}"


def test_a_plugin_that_is_called_like_an_installed_one_is_refused_with_both(lab: Path) -> None:
    (lab / "lab" / "tensor.py").write_text(SOURCE, encoding="utf-8")
    found = refusal(PluginError, plugins=["lab.tensor"])
    assert found.startswith(
        "2 plugins are called 'tensor': plugin 'tensor' (plugins = lab.tensor, keyword) and plugin "
    )
    assert (
        "Rename the module in plugins=, whose last word names the plugin, or leave 'tensor' out of plugins=." in found
    )


def test_errors_of_its_hooks_end_with_where_it_was_named() -> None:
    class Wrong:
        @hookimpl
        def pgregistry_modes(self) -> Any:
            return 5

    found = refusal(PluginError, plugins=[Wrong()])
    way_out = "To run without it, leave it out of plugins=."
    assert f"pgregistry_modes returned 5; yield each Mode.\n{way_out}\nNamed by plugins = " in found
    assert found.endswith("Wrong (keyword).")


def test_plan_takes_plugins(lab: Path) -> None:
    assert pgregistry.plan(8, plugins=["lab.pgregistry_ring"], ring=2).sizes["ring"] == 2
