"""Examples are written as by anybody: of pgregistry they use public names, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from public_names import not_public

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.py")), ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_an_example_uses_public_names_only(file: Path) -> None:
    assert list(not_public(file.read_text(encoding="utf-8"))) == []


def test_scripts_plugins_and_their_tests_are_looked_at() -> None:
    found = {str(file.relative_to(EXAMPLES)) for file in EXAMPLES.rglob("*.py")}
    assert {
        "gpt/train.py",
        "pgregistry-layouts/pgregistry_layouts/vllm.py",
        "pgregistry-expert/tests/test_expert.py",
    } <= found
