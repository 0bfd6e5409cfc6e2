"""Planning works on every Python that this machine has, without torch and with warnings as errors."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shells

ROOT = Path(__file__).parents[2]
#: What the command line needs, all of it pure Python.
MODULES = ("pluggy", "packaging", "click", "rich", "markdown_it", "mdurl", "pygments", "typing_extensions")
TREES = """
import sys, tempfile
from pathlib import Path
from random_trees import check_tree, compare
compare()
for seed in range(150 if sys.version_info >= (3, 11) else 0):
    with tempfile.TemporaryDirectory() as folder:
        check_tree(seed, Path(folder))
"""


def pythons() -> dict[str, Path]:
    """Return an interpreter of each version, beside this one and on PATH."""
    beside = (path for path in Path(sys.base_prefix).parent.glob("*3.*/bin/python3"))
    found = [
        Path(sys.executable),
        *beside,
        *(Path(which) for n in range(10, 20) if (which := shutil.which(f"python3.{n}"))),
    ]
    versions: dict[str, Path] = {}
    for python in found:
        script = "import sys; print(*sys.version_info[:2], sep='.')"
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=30)
        version = done.stdout.strip()
        if done.returncode == 0 and version not in ("", "3.6", "3.7", "3.8", "3.9"):
            versions.setdefault(version, python)
    return versions


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment with pgregistry and what planning needs, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    tomli = importlib.util.find_spec("tomli") or importlib.util.find_spec("pip._vendor.tomli")
    assert tomli is not None
    assert tomli.origin is not None
    (folder / "tomli").symlink_to(Path(tomli.origin).parent)
    shells.install_bundled(folder / "installed")
    damaged = folder / "installed"
    (damaged / ".dist-info").mkdir()
    for name in ("no_metadata-1.dist-info", "~eft-1.dist-info"):
        (damaged / name).mkdir()
        (damaged / name / "entry_points.txt").write_text("[console_scripts]\nmain\n", encoding="utf-8")
    path = [folder / "installed", folder, ROOT, ROOT / "plugins", ROOT / "tests" / "helpers"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PGREGISTRY", "PYTHON"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.slow
def test_every_python_here_plans_the_same_without_torch(bare: dict[str, str]) -> None:
    found = pythons()
    assert found

    def said(python: Path, *words: str) -> str:
        command = [str(python), "-s", "-W", "error", *words]
        done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"{python}: {done.stderr}"
        return done.stdout

    plans = {
        said(python, "-m", "pgregistry", "plan", "16", "tensor=2", "pipe=2", "--json") for python in found.values()
    }
    assert len(plans) == 1
    for python in found.values():
        rows = json.loads(said(python, "-m", "pgregistry", "plugins", "--json"))
        assert {row["status"] for row in rows if row["name"] != "hsdp"} == {"active"}
        said(python, "-c", TREES)
        assert (
            said(python, "-c", "import sys, pgregistry; pgregistry.plan(8); print('torch' in sys.modules)") == "False\n"
        )
