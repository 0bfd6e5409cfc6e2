"""What docs/moving.md has before and after ends with the same ranks, for each system that is installed."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import distributions
import pytest
from documents import files, sections
from ranks import run_ranks

#: Each section, with the distribution that its code needs.
PACKAGES = {
    "From init_device_mesh": "torch",
    "From Megatron's parallel_state": "megatron-core",
    "From DeepSpeed's mpu": "torch",
    "From InternLM's gpc": None,  # the wheel of InternEvo does not import without what it lacks
    "From accelerate": "accelerate",
    "From transformers": "transformers",
    "From Lightning": "lightning",
}


def save_model(folder: Path) -> None:
    """Save a small model, as the scripts for transformers load one."""
    from transformers import LlamaConfig, LlamaForCausalLM  # type: ignore[import-not-found, unused-ignore]

    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes)).save_pretrained(folder)


def ranks_of(sources: list[str], folder: Path | None = None) -> list[Any]:
    """Run several scripts in this process and return the `ranks` of each."""
    import os
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ["DS_ACCELERATOR"] = "cpu"
    found = []
    for source in sources:
        names: dict[str, Any] = {"__name__": "__main__", "folder": folder}
        exec(compile(source, "script.py", "exec"), names)
        found.append(names["ranks"])
    return found


def test_every_section_has_a_script_before_and_one_after() -> None:
    assert list(PACKAGES) == list(sections("docs/moving.md"))
    for title, text in sections("docs/moving.md").items():
        assert files(text, "python").keys() == {"before.py", "after.py"}, title


@pytest.mark.slow
@pytest.mark.parametrize("title", PACKAGES)
def test_ranks_stay_where_they_were(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PACKAGES[title]
    if package is not None and not [*importlib.metadata.distributions(name=package)]:
        pytest.skip(f"{package} is not installed")
    for path in reversed(distributions.place(tmp_path)):
        monkeypatch.syspath_prepend(path)
    scripts = files(sections("docs/moving.md")[title], "python")
    if package is None:
        expected = [([0, 1], 0), ([0, 1], 0), ([2, 3], 1), ([2, 3], 1)]
        assert [found for (found,) in run_ranks(4, ranks_of, [scripts["after.py"]], world=False)] == expected
    elif package in ("lightning", "transformers"):  # they keep their world to the end of the process
        if package == "transformers":
            save_model(tmp_path / "model")
        before = run_ranks(4, ranks_of, [scripts["before.py"]], tmp_path / "model", world=False, timeout=100)
        assert run_ranks(4, ranks_of, [scripts["after.py"]], tmp_path / "model", world=False, timeout=100) == before
    else:
        for before, after in run_ranks(
            4, ranks_of, [scripts["before.py"], scripts["after.py"]], world=False, timeout=100
        ):
            assert before == after
