"""What docs/moving.md has before and after ends with the same ranks, for each system that is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import socket
import sys
import types
from collections.abc import Callable
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
    "From InternLM's gpc": "InternEvo",
    "From accelerate": "accelerate",
    "From transformers": "transformers",
    "From Lightning": "lightning",
}


def save_model(folder: Path) -> None:
    """Save a small model, as the scripts for transformers load one."""
    from transformers import LlamaConfig, LlamaForCausalLM  # type: ignore[import-not-found, unused-ignore]

    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes)).save_pretrained(folder)


def import_context_alone() -> None:
    """Let `internlm.core.context` be imported without the modules above it, which import what the wheel lacks."""
    spec = importlib.util.find_spec("internlm")
    (folder,) = spec.submodule_search_locations or () if spec else ()
    for name in ("internlm", "internlm.core", "internlm.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(Path(folder, *name.split(".")[1:]))]
        sys.modules[name] = module


def ranks_of(sources: list[str], given: dict[str, Any], prepare: Callable[[], None] | None = None) -> list[Any]:
    """Run several scripts in this process and return the `ranks` of each."""
    import os
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ["DS_ACCELERATOR"] = "cpu"
    if prepare is not None:
        prepare()
    given = {"rank": int(os.environ["RANK"]), "world_size": int(os.environ["WORLD_SIZE"]), **given}
    found = []
    for source in sources:
        names: dict[str, Any] = {"__name__": "__main__", **given}
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
    if not [*importlib.metadata.distributions(name=package)]:
        pytest.skip(f"{package} is not installed")
    for path in reversed(distributions.place(tmp_path)):
        monkeypatch.syspath_prepend(path)
    scripts = files(sections("docs/moving.md")[title], "python")
    both = [scripts["before.py"], scripts["after.py"]]
    given: dict[str, Any] = {"folder": tmp_path / "model"}
    prepare = None
    if package == "transformers":
        save_model(given["folder"])
    if package == "InternEvo":
        given, prepare = {"host": "::1", "port": free_port()}, import_context_alone
    if package in ("InternEvo", "lightning", "transformers"):  # they keep their world to the end of the process
        before, after = (run_ranks(4, ranks_of, [one], given, prepare, world=False, timeout=100) for one in both)
        assert before == after
    else:
        for one, other in run_ranks(4, ranks_of, both, given, world=False, timeout=100):
            assert one == other


def free_port() -> int:
    """Return a free port of the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as server:
            server.bind(("::1", 0))
            port: int = server.getsockname()[1]
            return port
    except OSError as error:
        pytest.skip(f"InternEvo puts the address in brackets, and there is no IPv6 here: {error}")
