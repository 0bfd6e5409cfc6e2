"""Measure 8 ranks on 2 hosts (network namespaces) from the first contact until all agree, beside torch's own start.

If the machine allows no namespaces, it prints why and ends (tests/hosts/README.md).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import measure

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hosts"))
from bed import hosts, why_not
from ranks_on_hosts import Site, site

from pgregistry.testing import LocalRanks

ROUNDS = int(sys.argv[1]) if len(sys.argv) == 2 and sys.argv[1].isdigit() else 15
PER_HOST = 4
#: Seconds between the word of the last rank that it is ready and the start of all.
SOON = 0.3


def together(where: Site) -> tuple[float, float]:
    """Return at one time on all ranks, which have one clock; and what this rank has used of the CPU."""
    where.pause("ready")
    start = float((where.folder / "start").read_text())
    while time.monotonic() < start:
        pass
    return start, time.process_time()


def ours(where: Site) -> dict[str, float]:
    """Return the seconds until this rank had agreed, and until it had its process groups; also those of the CPU."""
    import pgregistry
    from pgregistry.runtime import initialize

    agreed = []
    reach = initialize.Agreement.reach

    def reach_and_note(agreement: initialize.Agreement) -> None:
        reach(agreement)
        agreed[:] = time.monotonic(), time.process_time()

    initialize.Agreement.reach = reach_and_note  # type: ignore[method-assign]
    where.enter()
    pgregistry.plan(where.count)  # imports the plugins, as the fork server has imported torch
    began, used = together(where)
    with pgregistry.init(backend="gloo"):
        done, cpu = time.monotonic() - began, time.process_time() - used
        return {"agreed": agreed[0] - began, "agreed CPU": agreed[1] - used, "done": done, "done CPU": cpu}


def torchs(where: Site) -> dict[str, float]:
    """Return the seconds until this rank had the default process group of torch; also those of the CPU."""
    import torch.distributed as dist

    where.enter()
    began, used = together(where)
    dist.init_process_group("gloo")
    done, cpu = time.monotonic() - began, time.process_time() - used
    dist.barrier()
    return {"torch": done, "torch CPU": cpu}


def start(folder: Path) -> None:
    """Let all ranks start soon, and at one time."""
    (folder / "start").write_text(str(time.monotonic() + SOON))


def main() -> None:
    if reason := why_not():
        print(reason)
        return
    os.environ.update({"RES_OPTIONS": "attempts:0", "TORCH_CPP_LOG_LEVEL": "ERROR", "OMP_NUM_THREADS": "1"})
    times: dict[str, list[float]] = {}
    with hosts(2) as bed, LocalRanks() as ranks:
        for number in range(-1, ROUNDS):  # the first round fills caches
            for function in (torchs, ours):
                with tempfile.TemporaryDirectory() as folder:
                    where = site(bed, PER_HOST, Path(folder))
                    where.at("ready", partial(start, Path(folder)))
                    answers = ranks.run(where.count, function, where, world=False)
                for name in answers[0] if number >= 0 else ():
                    took = [answer[name] for answer in answers]
                    times.setdefault(name, []).append(sum(took) / len(took) if "CPU" in name else max(took))
    middle = {name: median(taken) for name, taken in times.items()}
    rows = []
    for what, name in (
        ("torch's init_process_group", "torch"),
        ("pgregistry.init, until all agree", "agreed"),
        ("pgregistry.init, until all have the groups of 8 modes", "done"),
    ):
        cells = [
            (measure.duration(middle[one]), f"{middle[one] / middle[beside]:.2f} ×")
            for one, beside in ((name, "torch"), (f"{name} CPU", "torch CPU"))
        ]
        rows.append((what, *cells[0], *cells[1]))
    measure.show(
        f"{2 * PER_HOST} ranks on 2 hosts, from the first contact",
        ("", "the last rank", "÷ torch", "CPU time of a rank", "÷ torch"),
        rows,
        f"Aim: agreed within 1.2 × of torch. {ROUNDS} rounds, in turn.",
    )


if __name__ == "__main__":
    main()
