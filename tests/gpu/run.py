"""Run on GPUs what needs them, and print a table: `make gpu PYTHON=python3`.

It installs nothing: PYTHON has torch and what pgregistry needs, and finds this checkout. Each row starts ranks of its
own, one a GPU. It ends within 5 minutes, and says what it left out. `--cpu N` tries this script with gloo on CPUs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[2]
ROWS: Final = Path(__file__).with_name("rows.py")
#: Seconds for everything, and for one row at most.
WHOLE, ONE = 280.0, 70.0
GPT: Final = ("examples/gpt/train.py", "--steps", "5", "--layers", "2")
NETTEST: Final = ("-m", "pgregistry", "nettest", "--size", "1M", "--iterations", "5", "--timeout", "30")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        name: What is tried.
        words: What each rank's Python runs.
        least: The ranks that it needs.
        environ: Variables of its ranks.
        lacking: Why it cannot be tried here; empty if it can.
    """

    name: str
    words: Sequence[str]
    least: int = 1
    environ: tuple[tuple[str, str], ...] = ()
    lacking: str = ""


def rows(backends: Sequence[str], on_cpu: bool) -> list[Row]:
    """Return the rows, given the backends of this torch."""

    def of_rank(name: str, **keywords: object) -> Row:
        return Row(name, (str(ROWS), name), **keywords)  # type: ignore[arg-type]

    no_gpu = "needs GPUs" if on_cpu else ""
    names = ("nccl2", "nccl-legacy")
    lacking = {name: no_gpu or f"this torch has no {name}" * (name not in backends) for name in names}
    return [
        of_rank("all modes"),
        of_rank("options of NCCL", lacking=no_gpu),
        of_rank("gloo companions"),
        of_rank("all modes, bound to devices", lacking=no_gpu),
        of_rank("all modes, public calls", environ=(("PGREGISTRY_BUILD", "public"),)),
        of_rank("device mesh and FSDP2"),
        of_rank("set-up", least=2),
        of_rank("watch and diagnose", least=2),
        Row("nettest", NETTEST, least=2),
        Row("training: examples/gpt, data", GPT),
        Row("training: examples/gpt, tensor=2", (*GPT, "tensor=2"), least=2),
        Row("training: examples/gpt, pipe=2 tensor=2", (*GPT, "pipe=2", "tensor=2"), least=4),
        of_rank("within= leaves out ranks", least=4),
        of_rank("nccl2", lacking=lacking["nccl2"]),
        of_rank("nccl-legacy", lacking=lacking["nccl-legacy"]),
    ]


def main(words: Sequence[str]) -> int:
    """Run the first row with 1, 2, 4 and 8 ranks and all rows with the most; return 1 if one failed."""
    begun = time.monotonic()
    needed = ("torch", "pluggy", "packaging", "click", "rich")
    if absent := [name for name in needed if importlib.util.find_spec(name) is None]:
        print(f"make gpu: {sys.executable} lacks {', '.join(absent)}. Nothing was run. Say PYTHON=… for another one.")
        return 0
    import torch
    import torch.distributed as dist

    on_cpu = list(words[:1]) == ["--cpu"]
    count = int(words[1]) if on_cpu else torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if not count:
        print(f"make gpu: torch {torch.__version__} finds no GPU on this host, so nothing was run.")
        return 0
    kind = "CPU ranks with gloo" if on_cpu else f"x {torch.cuda.get_device_name(0)}"
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {count} {kind}\n")
    print("| ranks | row | outcome | s |\n|---|---|---|---|", flush=True)
    failed = 0
    backends = known_backends(dist.Backend.backend_list)
    with tempfile.TemporaryDirectory() as site:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(searched(Path(site)))}
        if on_cpu:
            environ["GPU_ROWS_BACKEND"] = "gloo"
        sizes = [size for size in (1, 2, 4, 8) if size <= count]
        for ranks in sizes:
            for row in rows(backends, on_cpu)[: None if ranks == sizes[-1] else 1]:
                left = WHOLE - (time.monotonic() - begun)
                outcome, seconds = run(row, ranks, environ, min(ONE, left))
                failed += outcome.startswith("FAILED")
                print(f"| {ranks} | {row.name} | {outcome} | {seconds:.0f} |", flush=True)
    for size in (2, 4, 8):
        if size > count:
            print(f"skipped: {size} ranks, for there are {count}")
    return bool(failed)


def known_backends(known: Sequence[str]) -> list[str]:
    """Return the backends that torch knows, and those that it finds by their entry points."""
    from importlib.metadata import entry_points

    return [*known, *(point.name for point in entry_points(group="torch.distributed.backends"))]


def searched(site: Path) -> list[str]:
    """Return the folders of the checkout, and one with its entry points, as if it were installed."""
    info = site / "pgregistry-0+checkout.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pgregistry\nVersion: 0+checkout\n", encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    points = re.findall(r'^\[project\.entry-points\."?(pgregistry[.\w]*)"?\]\n((?:\w.*\n)+)', project, re.MULTILINE)
    text = "".join(f"[{group}]\n{lines.replace(chr(34), '')}\n" for group, lines in points)
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
    return [str(site), str(ROOT), str(ROOT / "plugins"), str(ROOT / "examples" / "gpt")]


def run(row: Row, ranks: int, environ: dict[str, str], seconds: float) -> tuple[str, float]:
    """Run a row on some ranks; return its outcome, and the seconds that it took."""
    if row.lacking or ranks < row.least:
        return f"skipped: {row.lacking or f'needs {row.least} ranks'}", 0
    if seconds < 5:
        return "skipped: no time left", 0
    begun = time.monotonic()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks), **dict(row.environ)}
    environ = {**environ, **place, "LOCAL_WORLD_SIZE": str(ranks)}
    with ExitStack() as stack:
        files = [[stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)] for _ in range(ranks)]
        started = [
            subprocess.Popen(
                [sys.executable, *row.words],
                cwd=ROOT,
                env={**environ, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=out,
                stderr=err,
            )
            for rank, (out, err) in enumerate(files)
        ]
        try:
            while any(one.poll() is None for one in started) and time.monotonic() - begun < seconds:
                time.sleep(0.05)
            late = [rank for rank, one in enumerate(started) if one.poll() is None]
        finally:
            for one in started:
                one.kill()  # nothing for one that has ended
                one.wait()
        said = [[read(file) for file in pair] for pair in files]
    took = time.monotonic() - begun
    if late:
        return f"FAILED: ranks {late} did not end within {seconds:.0f} s", took
    if wrong := [rank for rank, one in enumerate(started) if one.returncode]:
        last = said[wrong[0]][1].strip().splitlines()[-1:]
        return f"FAILED: rank {wrong[0]}: {''.join(last)[:200]}", took
    lines = said[0][0].strip().splitlines()
    return lines[-1].removeprefix("outcome: ") if lines else "passed", took


def read(file: IO[str]) -> str:
    """Return what was written to a file."""
    file.seek(0)
    return file.read()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
