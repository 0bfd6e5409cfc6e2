"""The part of each rank in a row of the fault matrix, and the check of its outcome."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from fault_table import FAULTS, PATIENCE, Fault
from ranks import alive, verified

import pgregistry

MODES = """
from pgregistry import WORLD, Axis, Mode, Split, hookimpl

@hookimpl
def pgregistry_modes():
    yield Mode({mode})
"""
READY = """
import os
import torch.distributed as dist
from pgregistry import hookimpl

@hookimpl
def pgregistry_ready(context):
    if "RAISE" in os.environ:
        raise RuntimeError(os.environ["RAISE"])
    {then}
"""
RING = '"ring", over=Split(WORLD, inner="ring", size=2)'
OUTER = '"ring", over=Split(WORLD, outer="ring", size=2).outer'
DISTRIBUTIONS = {
    "ring": ("ring", "1", MODES.format(mode=RING)),
    "ring 2": ("ring", "2", MODES.format(mode=RING)),
    "ring with other groups": ("ring", "1", MODES.format(mode=OUTER)),
    "ring that does not load": ("ring", "1", "raise RuntimeError('no driver')"),
    "context": ("context", "1", MODES.format(mode='"context", over=Axis("context", inside="data", outside="tensor")')),
    "silent": (
        "silent",
        "1",
        "from pgregistry import hookimpl\n@hookimpl\ndef pgregistry_check(plan):\n    return []\n",
    ),
    "ready": ("ready", "1", READY.format(then="pass")),
    "collective": ("collective", "1", READY.format(then="dist.barrier(context['nettest'].group)")),
}


def write_distributions(root: Path) -> Path:
    """Write one folder for each distribution."""
    for label, (name, version, source) in DISTRIBUTIONS.items():
        info = root / label / f"acme_{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pgregistry]\n{name} = acme_{name}\n")
        (root / label / f"acme_{name}.py").write_text(source)
    return root


@contextlib.contextmanager
def installed(folder: Path, labels: tuple[str, ...]) -> Iterator[None]:
    """Install these distributions in this process, found in this order."""
    before = list(sys.path)
    sys.path[:0] = [str(folder / label) for label in labels]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
        for name in [name for name in sys.modules if name.startswith("acme_")]:
            del sys.modules[name]


# --- what each rank does ----------------------------------------------------------------------------


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """Yield the list of what pgregistry logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("pgregistry")
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)


def attempt(fault: Fault, folder: Path, *, odd: bool) -> dict[str, Any]:
    """Return what `init` does on this rank, what it leaves, and how long it takes."""
    keywords = {"build_timeout": PATIENCE, "agree_timeout": 15, **fault.all, **(fault.odd if odd else {})}
    labels = fault.plugins if odd and fault.plugins is not None else fault.plugins_all
    before, begun = alive(), time.monotonic()
    answer: dict[str, Any] = {"error": None, "text": "", "odd": odd}
    with pytest.MonkeyPatch.context() as patch, installed(folder, labels), logged() as lines:
        for name, value in (fault.env if odd else fault.env_all).items():
            patch.setenv(name, value)
        try:
            context = pgregistry.init(**keywords)
        except Exception as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
        answer |= {"seconds": time.monotonic() - begun, "left": alive() - before, "log": list(lines)}
        if answer["error"] is None:
            with context:
                answer["proved"] = verified(context)
            answer["left"] = alive() - before
    return answer


def try_each(kinds: list[str], odd: int, folder: Path) -> list[dict[str, Any]]:
    """Try kinds one after another in an existing world; then build, to see that nothing stayed behind."""
    rank, answers = dist.get_rank(), []
    for fault in FAULTS:
        if fault.kind in kinds:
            dist.barrier()
            answers.append(attempt(fault, folder, odd=rank == odd))
    dist.barrier()
    with pgregistry.init(tensor=2) as context:
        assert verified(context)
    return answers


def check(fault: Fault, size: int, odd: int, answers: Mapping[int, dict[str, Any]]) -> None:
    """Hold what the ranks raised against the matrix."""
    check_one_text(fault, odd, answers)
    others = [rank for rank in range(size) if rank != odd]
    places: dict[str, Any] = {
        "odd": f"rank {odd}",
        "Odd": f"Rank {odd}",
        "others": f"ranks {others[0]}-{others[-1]}",
        "n": size,
        "more": size + 4,
        "half": size // 2,
    }
    for rank, answer in answers.items():
        shown = f"{fault.kind}: rank {rank} of {size}, odd {odd}: {answer}"
        assert answer["left"] == 0, shown
        assert answer["seconds"] < fault.soon, shown
        if fault.says is None:
            assert answer["error"] is None, shown
            assert answer["proved"], shown
        elif rank == odd and fault.own:
            assert f"{answer['error']}: {answer['text']}".startswith(fault.own.format(**places)), shown
        else:
            assert answer["error"] == fault.error, shown
            assert any(text in answer["text"] for text in fault.says.format(**places).split(" OR ")), shown
            for word in fault.named:
                assert word.format(**places) in answer["text"], shown


def check_one_text(fault: Fault, odd: int, answers: Mapping[int, dict[str, Any]]) -> None:
    """All ranks raise the same text, but the one that raises its own error, and where no store is left to share it."""
    if fault.one_text:
        found = {answer["text"] for rank, answer in answers.items() if rank != odd or not fault.own}
        assert len(found) == 1, f"{fault.kind}: {found}"


def check_log(fault: Fault, odd: int, said: Mapping[int, dict[str, Any]]) -> None:
    """Versions that differ are logged by the ranks that differ from the one that decided; nothing else is."""
    lines = {line for answer in said.values() for line in answer["log"]}
    others = [rank for rank in said if rank != odd]
    if not fault.log:
        assert not lines, fault.kind
    elif len(lines) == 1 and len(others) > 1:
        assert lines <= {fault.log.format(rank=odd, mine=2, theirs=1, other=other) for other in others}
    else:  # the odd rank decided
        assert lines == {fault.log.format(rank=other, mine=1, theirs=2, other=odd) for other in others}


def replaced(fault: Fault, **keywords: Any) -> Fault:
    return replace(fault, all={**fault.all, **keywords})
