"""Plugins are found through entry points, none is imported, and duplicates are kept."""

from __future__ import annotations

import importlib.metadata
import random
import sys
from pathlib import Path
from typing import Any

import pytest

import pgregistry
from pgregistry.errors import Problems
from pgregistry.registry import discovery
from pgregistry.registry.discovery import discover
from pgregistry.registry.distributions import distributions, visible
from pgregistry.registry.manager import Registry
from pgregistry.testing import write_distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
from acme_plugin import GOOD, POINT

ROOT = Path(__file__).parents[2]


def load(**keywords: Any) -> Registry:
    return Registry.read(Problems(), keywords=keywords, environ={})


def statuses(**keywords: Any) -> dict[str, tuple[str, str | None]]:
    return {status.installed.plugin.name: (status.name, status.reason) for status in load(**keywords).statuses}


def test_a_plugin_is_found_through_its_entry_point(acme: Any) -> None:
    acme(GOOD)
    (found,) = [one for one in discover() if one.plugin.name == "acme"]
    assert str(found) == POINT
    assert not found.optional
    assert "acme" in pgregistry.plan(4)


def test_discovery_imports_nothing(acme: Any) -> None:
    acme("raise RuntimeError")
    assert "acme" in {one.plugin.name for one in discover()}
    assert "acme_plugin" not in sys.modules


def test_plugins_are_sorted_by_name_whatever_the_metadata_say(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, found = discover(), list(visible(distributions()))
    random.Random(1).shuffle(found)
    monkeypatch.setattr(discovery, "distributions", lambda: found)
    assert [one.plugin for one in discover()] == [one.plugin for one in expected]
    assert [one.plugin.name for one in expected] == sorted(one.plugin.name for one in expected)


def test_what_pip_left_behind_is_harmless(acme: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    acme(GOOD)
    left = write_distribution(tmp_path, "pgregistry-acme", {"acme": "acme_plugin"}, {})
    (left / "pgregistry_acme-0.1.dist-info").rename(left / "~gregistry_acme-0.1.dist-info")
    monkeypatch.syspath_prepend(left)
    assert len(importlib.metadata.entry_points(group="pgregistry", name="acme")) == 2
    assert [one.plugin.name for one in discover()].count("acme") == 1


@pytest.mark.parametrize("spelled", ["pgregistry-acme", "PGRegistry.Acme"])
@pytest.mark.parametrize("points", [{}, {"newer": "acme_plugin"}])
def test_the_first_distribution_of_a_name_on_the_path_hides_the_others(
    points: dict[str, str], spelled: str, acme: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acme(GOOD)
    monkeypatch.syspath_prepend(write_distribution(tmp_path, spelled, points, {}, "0.2"))
    installed = {point.name for point in importlib.metadata.entry_points(group="pgregistry")}
    assert {one.plugin.name for one in discover() if not one.optional} == installed
    assert "acme" not in installed
    assert ("newer" in installed) == bool(points)


def test_a_distribution_without_metadata_still_shows_its_plugins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "left-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[pgregistry]\nleft = left_over\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert statuses()["left"][0] == "failed"


def test_the_installed_entry_points_are_those_of_pyproject() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    installed: dict[str, dict[str, str]] = {}
    for point in importlib.metadata.distribution("pgregistry").entry_points:
        if point.group != "console_scripts":
            installed.setdefault(point.group, {})[point.name] = point.value
    assert installed == declared, "pyproject.toml was changed since it was installed: run pip install -e . again"
