"""How distributions are installed is said where a plugin fails or a name is not known: hidden, left behind, unmet."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acme_plugin import ACME, GOOD, POINT, WAY_OUT, refusal, whole_refusal

import pgregistry
from pgregistry import ConfigError, PluginError
from pgregistry.cli import run
from pgregistry.registry import advice
from pgregistry.registry.advice import Owners, declares
from pgregistry.registry.discovery import discover
from pgregistry.testing import write_distribution


def second(folder: Path, monkeypatch: pytest.MonkeyPatch, points: dict[str, str], version: str = "0.2") -> Path:
    """Put another pgregistry-acme behind the first one on the path."""
    write_distribution(folder / "second", "pgregistry-acme", points, {}, version)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder / "second")])
    return folder / "second" / f"pgregistry_acme-{version}.dist-info"


def test_what_is_installed_is_read_once_for_all_that_fail(
    distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    requires = "Name: pgregistry-acme\nVersion: 0.1\nRequires-Dist: pgregistry>=0.1\n"
    points = {f"acme{number}": f"acme_gone{number}" for number in range(5)}
    site = distribution("pgregistry-acme", points, {})
    (site / "pgregistry_acme-0.1.dist-info" / "METADATA").write_text(requires)
    listed, listdir = list[str](), os.listdir

    def listing(path: str) -> list[str]:
        listed.append(path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", listing)
    with pytest.raises(PluginError, match="5 problems"):
        pgregistry.plan(4)
    assert listed.count(str(site)) == 3  # to find them; for what hides others; for the version of the core


def test_a_stale_egg_info_that_hides_an_installation_is_named(
    distribution: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = distribution("pgregistry-acme", {"circle": "acme_gone"}, {})
    stale = (site / "pgregistry_acme-0.1.dist-info").rename(site / "pgregistry_acme.egg-info")
    real = second(tmp_path, monkeypatch, {"loop": "acme_loop"})
    hides = f"{stale} comes first on the path and hides {real}; delete the one that is stale."
    found = "plugin 'circle', pgregistry-acme 0.1 (entry point pgregistry: circle = acme_gone)"
    with pytest.raises(PluginError) as caught:
        pgregistry.plan(4)
    assert str(caught.value) == (
        f"{found} does not load: ModuleNotFoundError: No module named 'acme_gone'\n{hides}\n"
        f"{WAY_OUT.strip().replace('acme', 'circle')}\nFound in {site}."
    )
    assert refusal(ConfigError, loop=2, disable=["circle"]).endswith(f" {hides}")


def test_an_empty_distribution_that_hides_a_plugin_is_named_where_the_plugin_is_missed(
    acme: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site: Path = acme(GOOD)
    info = site / "pgregistry_acme-0.1.dist-info"
    (info / "entry_points.txt").unlink()
    real = second(tmp_path, monkeypatch, {"acme": "acme_plugin"})
    hides = f"{info} comes first on the path and hides {real}."
    assert refusal(ConfigError, acme=2).endswith(hides)
    assert refusal(ConfigError, disable=["acme"]).endswith(hides)
    assert run(["plan", "8", "--mode", "acme"]) == 1
    assert capsys.readouterr().err.endswith(f"{hides}\n")
    assert run(["plugins"]) == 0
    assert capsys.readouterr().err == f"{hides}\n"


def test_one_folder_through_two_links_hides_nothing(
    acme: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site: Path = acme(GOOD)
    (tmp_path / "lib64").symlink_to(site)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "lib64"), str(site)])
    assert "acme" in pgregistry.plan(4)
    assert run(["plugins"]) == 0
    assert capsys.readouterr().err == ""


def test_what_pip_left_behind_is_harmless_and_listed(acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site: Path = acme(GOOD)
    left = write_distribution(site / "left", "pgregistry-acme", {"acme": "acme_plugin"}, {})
    info = (left / "pgregistry_acme-0.1.dist-info").rename(site / "~gregistry_acme-0.1.dist-info")
    assert "acme" in pgregistry.plan(4)
    assert run(["plugins"]) == 0
    assert capsys.readouterr().err == f"{info} was left behind by pip and does not count; delete it.\n"


@pytest.mark.parametrize("group", ["pgregistry.plugins", "Pgregistry", "pgregistry-optional"])
def test_a_group_that_looks_like_ours_is_listed(group: str, acme: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site: Path = acme(GOOD)
    file = site / "pgregistry_acme-0.1.dist-info" / "entry_points.txt"
    file.write_text(f"[{group}]\nacme = acme_plugin\n", encoding="utf-8")
    assert run(["plugins"]) == 0
    rule = "does not count; the groups are pgregistry and pgregistry.optional."
    assert capsys.readouterr().err == f"{file} has the group {group!r}, which {rule}\n"


def test_one_line_twice_is_not_two_plugins(acme: Any) -> None:
    info = acme(GOOD) / "pgregistry_acme-0.1.dist-info"
    (info / "entry_points.txt").write_text("[pgregistry]\nacme = acme_plugin\nacme = acme_plugin\n", encoding="utf-8")
    assert refusal(PluginError) == f"{POINT} is there 2 times; {info}/entry_points.txt must name it once."


def test_one_module_under_two_names_is_told_so(distribution: Callable[..., Path]) -> None:
    points = {"ring": "acme_plugin", "ring2": "acme_plugin"}
    distribution("pgregistry-acme", points, {"acme_plugin.py": GOOD})
    same = "plugins 'ring' and 'ring2' are the same object acme_plugin; remove one of the entry points"
    assert same in refusal(PluginError)
    assert "acme" in pgregistry.plan(4, disable=["ring2"])
    assert "acme" in pgregistry.plan(4, disable=["ring"])


@pytest.mark.parametrize(
    ("requires", "said"),
    [
        ("pgregistry>=9", True),
        ("PGRegistry (>=9,<10)", True),
        ("pgregistry>=0.1", False),
        ("pgregistry>=9; extra == 'x'", False),
    ],
)
def test_a_requirement_on_pgregistry_that_is_not_met_is_told_if_the_plugin_fails(
    requires: str, said: bool, acme: Any
) -> None:
    site: Path = acme("from pgregistry import Nothing")
    metadata = site / "pgregistry_acme-0.1.dist-info" / "METADATA"
    metadata.write_text(f"{metadata.read_text(encoding='utf-8')}Requires-Dist: {requires}\n", encoding="utf-8")
    version = pgregistry.__version__
    line = f"\nIt requires pgregistry>=9{',<10' * (',' in requires)}, but pgregistry {version} is installed."
    text = refusal(PluginError).replace("PGRegistry", "pgregistry").replace("<10,>=9", ">=9,<10")
    assert (line in text) == said


def test_a_file_that_shadows_the_module_of_a_plugin_is_named(
    acme: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme(GOOD)
    (tmp_path / "here").mkdir()
    scratch = tmp_path / "here" / "acme_plugin.py"
    scratch.write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(scratch.parent)
    assert f"\nIts module is {scratch}." in refusal(PluginError)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pgregistry-acme", "Distribution pgregistry-acme has the plugin 'my-ring'."),
        ("pgregistry_acme", "Distribution pgregistry-acme has the plugin 'my-ring'."),
        ("acme_plugin", "Module acme_plugin has the plugin 'my-ring'."),
        ("my_ring", "Did you mean 'my-ring'?"),
        ("acme", "It is a mode of plugin 'my-ring'."),
    ],
)
def test_a_name_of_a_distribution_a_module_or_a_mode_is_answered_with_its_plugins(
    name: str, hint: str, acme: Any
) -> None:
    acme(GOOD, name="my-ring")
    assert refusal(ConfigError, disable=[name]) == f"disable: no plugin is called {name!r} (keyword). {hint}"


def test_what_is_off_is_told_so_by_a_plan_and_the_command_line(
    toml: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = toml('disable = ["nettest"]')
    off = f"plugin 'nettest' is disabled ({file}), which wins over enable (command line)."
    assert run(["plan", "8", "--config", file, "--enable", "nettest", "--mode", "nettest"]) == 1
    assert capsys.readouterr().err == f"ConfigError: mode: there is no mode 'nettest' (command line): {off}\n"
    plan = pgregistry.plan(8, config=file, enable=["nettest"])
    with pytest.raises(ConfigError) as caught:
        plan["nettest"]
    assert str(caught.value) == f"The plan has no mode 'nettest': {off.replace('command line', 'keyword')}"
    assert caught.value.plugin == "nettest"


def test_a_mode_that_a_plugin_of_another_name_may_have_is_answered_with_what_is_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, disable=["hsdp"])["shard"]
    off = "No plugin that is on declares it; 'hsdp' is disabled"
    assert str(caught.value).endswith(f" {off} (keyword).")
    assert run(["plan", "8", "--enable", "hsdp", "--disable", "hsdp", "--mode", "shard"]) == 1
    assert capsys.readouterr().err.endswith(f" {off} (command line), which wins over enable (command line).\n")
    assert run(["plan", "8", "--mode", "tensr"]) == 1
    assert capsys.readouterr().err.endswith("Did you mean 'tensor'?\n")


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is the whole path: pgregistry runs without its metadata."""
    assert run(["plan", "8"]) == run(["plugins"]) == 0  # imports what they need
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_core_without_metadata_says_so_everywhere(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    folder = Path(pgregistry.__file__).parents[1]
    why = f"pgregistry is imported from {folder / 'pgregistry'} without being installed; run `pip install -e {folder}`."
    assert run(["plan", "8"]) == 1
    assert capsys.readouterr().err == f"PluginError: No mode plugins are installed. {why}\n"
    assert run(["plugins"]) == 0
    assert capsys.readouterr().err == f"No mode plugins are installed. {why}\n"
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == "pgregistry unknown\n"
    assert pgregistry.__version__ == "unknown"
    assert run(["new", "ring"]) == 0
    assert 'dependencies = ["pgregistry>=0"]' in Path("pgregistry-ring/pyproject.toml").read_text(encoding="utf-8")
    write_distribution(copied, "pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": GOOD})
    assert pgregistry.plan(8).modes == ("acme",)
    with pytest.raises(ConfigError) as caught:
        pgregistry.plan(8, tensor=2)
    assert str(caught.value).endswith(f"None of the bundled plugins is installed. {why}")


def test_a_copy_is_not_told_to_install_a_checkout(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgregistry.registry import advice

    monkeypatch.setattr(advice, "__file__", str(copied / "pgregistry" / "registry" / "advice.py"))
    assert run(["plan", "8"]) == 1
    assert capsys.readouterr().err.endswith(
        ": it is a copy without its metadata, which names its plugins; run `pip install pgregistry`.\n"
    )


def test_an_error_of_a_hook_ends_with_the_folder(acme: Any) -> None:
    site: Path = acme(GOOD.replace("yield", "1 // 0; yield"))
    with pytest.raises(PluginError) as caught:
        pgregistry.plan(4)
    assert str(caught.value) == (
        f"{ACME} raised ZeroDivisionError in pgregistry_modes: integer division or modulo by zero{WAY_OUT}\n"
        f"Found in {site}."
    )


SOURCE = """
raise ImportError("a plugin that is off is not imported")
from pgregistry import Mode
modes = [Mode("plain", over=()), pgregistry.Mode(name), Mode(f"made-up")]
"""


@pytest.mark.parametrize("files", [{"acme_off.py": SOURCE}, {"acme_off/__init__.py": "", "acme_off/modes.py": SOURCE}])
def test_the_modes_of_a_plugin_that_is_off_are_read_from_its_source(
    distribution: Callable[..., Path], files: dict[str, str]
) -> None:
    distribution("pgregistry-acme", {"off": "acme_off"}, files)
    off = next(one for one in discover() if one.plugin.name == "off")
    assert [declares(off, mode) for mode in ("plain", "made-up", "name", "off")] == [True, False, False, False]
    assert "acme_off" not in sys.modules


def test_sources_are_read_once_for_all_names_that_are_not_known(
    distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("pgregistry-acme", {"off": "acme_off"}, {"acme_off.py": SOURCE})
    read: list[str] = []
    modes_of = advice.declared_modes
    monkeypatch.setattr(advice, "declared_modes", lambda one: read.append(one.plugin.name) or modes_of(one))
    owners = Owners(discover())
    assert owners.of("plain") == "It is a mode of plugin 'off'."
    assert [owners.of(f"no-such-name-{number}") for number in range(100)] == [None] * 100
    assert read.count("off") == 1


@pytest.mark.parametrize("files", [{}, {"acme_off.py": "def"}, {"acme_off.py": "\0"}])
def test_a_source_that_cannot_be_read_declares_nothing(
    distribution: Callable[..., Path], files: dict[str, str]
) -> None:
    distribution("pgregistry-acme", {"off": "acme_off"}, files)
    assert not declares(next(one for one in discover() if one.plugin.name == "off"), "plain")


@pytest.mark.parametrize(("frozen", "module"), [(True, "acme_gone"), (True, "acme_gone.deeper"), (False, "acme_gone")])
def test_a_frozen_program_without_a_plugins_module_is_told_how_to_take_it_along(
    frozen: bool, module: str, distribution: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution("pgregistry-acme", {"acme": module}, {})
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    text = whole_refusal(PluginError)
    assert "does not load: ModuleNotFoundError: No module named 'acme_gone'" in text
    advice = f"It was left out when this program was frozen: freeze it with --hidden-import {module}."
    assert (advice in text) == frozen
    assert WAY_OUT in text


def test_a_frozen_program_with_a_broken_module_is_told_as_any_other(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    acme("import acme_gone")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert WAY_OUT in whole_refusal(PluginError)


def test_a_frozen_program_with_a_package_that_exits_is_told_as_any_other(
    distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"acme_exits/__init__.py": "raise SystemExit(0)", "acme_exits/modes.py": ""}
    distribution("pgregistry-exits", {"exits": "acme_exits.modes"}, files)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    said = refusal(PluginError)
    assert said.endswith("(entry point pgregistry: exits = acme_exits.modes) does not load: SystemExit: 0")
