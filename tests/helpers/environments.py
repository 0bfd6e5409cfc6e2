"""Environments with packages that the tests do not need themselves, beside the torch and pgregistry of this one."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from environment import set_by_launchers
from packaging.requirements import Requirement

#: The versions that are tried, a line each.
PACKAGES: Final = Path(__file__).with_name("packages.txt")
#: What is installed without its dependencies, some of which do not build; the tests need none of them.
ALONE: Final = ("InternEvo",)
#: What the workers of Ray Train may take to start on a busy machine, in seconds, and no word home.
RAY: Final = {
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "400",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_METRICS_COLLECTION": "1",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
}


def pinned() -> dict[str, str]:
    """Return the requirement of each package, by name.

    pinned()["accelerate"]  # accelerate==1.15.0
    """
    lines = [line for line in PACKAGES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {Requirement(line).name: line for line in lines}


def install(folder: Path, *names: str) -> Path:
    """Make an environment with some packages, and return the folder of its programs.

    Its other packages, torch among them, are those of this environment. The test is skipped, by name, if pip cannot
    install one.
    """
    venv.create(folder, with_pip=True)
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    here = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (purelib / "this_torch.pth").write_text(here, encoding="utf-8")
    (folder / "constraints.txt").write_text(f"torch=={importlib.metadata.version('torch')}\n", encoding="utf-8")
    wanted = [pinned()[name] for name in names]
    options = ["-q", "-c", folder / "constraints.txt", *(["--no-deps"] if names == ALONE else [])]
    pip = (folder / "bin" / "python", "-m", "pip", "install", *options, *wanted)
    environ = {name: value for name, value in os.environ.items() if name != "RES_OPTIONS"}  # pip looks up names
    done = subprocess.run(pip, env=environ, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"pip cannot install {' and '.join(wanted)}: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "bin"


def run(command: Sequence[object], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program of such an environment in a folder, with this pgregistry and without the variables of launchers."""
    environ = {name: value for name, value in os.environ.items() if name not in set_by_launchers()}
    environ |= {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "RES_OPTIONS": "attempts:0", **more}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if (Path(path) / "pgregistry").is_dir())
    return subprocess.run([*map(str, command)], env=environ, cwd=folder, capture_output=True, text=True, timeout=600)
