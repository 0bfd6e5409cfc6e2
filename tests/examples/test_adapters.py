"""The adapters and docs/moving.md beside the real packages, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest
from environments import install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT: Final = Path(__file__).parents[2]
MOVING: Final = "tests/docs/test_moving.py"
#: The packages of an environment, and the tests that are skipped without them: a file, with part of their names.
TESTS: Final = {
    ("megatron-core",): (("examples/pgregistry-megatron/tests", ""), (MOVING, "Megatron")),
    ("deepspeed",): (("examples/pgregistry-deepspeed/tests", ""),),
    ("InternEvo",): (("examples/pgregistry-internevo/tests", ""), (MOVING, "InternLM")),
    ("torchtitan",): (("examples/pgregistry-torchtitan/tests", ""),),
    ("accelerate", "transformers"): ((MOVING, "accelerate or transformers"),),
    ("lightning",): ((MOVING, "Lightning"),),
}


@pytest.mark.parametrize("packages", TESTS, ids=" and ".join)
def test_what_needs_a_package_passes_with_it(packages: tuple[str, ...], tmp_path: Path) -> None:
    programs = install(tmp_path / "venv", *packages)
    for tests, named in TESTS[packages]:
        places = [ROOT, ROOT / "plugins", (ROOT / tests).parent]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
        environ["PYTHONPATH"] = os.pathsep.join(map(str, places))
        options = ["-q", "-rs", "-p", "no:cacheprovider", "-n", "0", "-m", "slow or not slow", "-k", named]
        command = [programs / "python", "-m", "pytest", *options, tests]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
        assert "skipped" not in done.stdout, done.stdout[-2000:]
