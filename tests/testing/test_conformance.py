"""Every bundled mode has the properties of a plugin; a test class fails where its plugin does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import origin
from plugin_sources import Install, modes

from pgregistry.testing import PluginConformance
from pgregistry.testing.properties import PROPERTIES

for bundled in origin.EIGHT:
    title = f"Test{bundled.title()}"
    globals()[title] = type(title, (PluginConformance,), {"plugin": bundled})


def test_the_test_class_has_a_test_for_each_property() -> None:
    tests = [name for name in vars(PluginConformance) if name.startswith("test_")]
    assert tests == [f"test_{one.name}" for one in PROPERTIES]
    assert len({one.sentence for one in PROPERTIES}) == len(PROPERTIES)


SUITE = """
from pgregistry.testing import PluginConformance

class TestAcme(PluginConformance):
    plugin = "acme"
    worlds = (1, 4)
    partial = ()

    def expected(self, mode, plan):
        return [range(plan.world_size)]
"""


def test_a_subclass_fails_where_its_plugin_does_and_says_so_without_a_traceback(
    tmp_path: Path, installed_plugin: Install
) -> None:
    source = modes("yield Mode('acme', groups=lambda mesh: [range(mesh.world_size - (mesh.world_size > 1))])")
    folder = installed_plugin("pgregistry-acme", {"acme": "acme_plugin"}, {"acme_plugin.py": source})
    (tmp_path / "test_acme.py").write_text(SUITE)
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "error", "-k", "not builds"]  # which would import torch
    command = [sys.executable, "-m", "pytest", *quiet, "test_acme.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=90
    )
    assert "2 failed, 5 passed, 1 deselected" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_acme.py::TestAcme::test_groups_are_disjoint_and_cover" in done.stdout
    assert "plugin 'acme': groups are disjoint, in range, and leave no rank out. But\nat 4 ranks: mode" in done.stdout
    assert "pgregistry/testing" not in done.stdout


def test_a_test_that_needs_torch_is_skipped_without_it(tmp_path: Path) -> None:
    without = "import sys\nsys.modules['torch'] = None\n"
    (tmp_path / "test_dummy.py").write_text(without + SUITE.replace('"acme"', '"dummy"').partition("    partial")[0])
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", "loads or builds", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "It needs torch, which is not installed." in done.stdout
