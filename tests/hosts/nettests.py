"""Run network tests over real links, some of which have a third of the speed of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bed import Bed

JOBS: Final = Path(__file__).parent / "jobs"
FAST: Final = "150mbit"
SLOW: Final = "50mbit"
SIZE: Final = 256 * 1024


def reports(bed: Bed, folder: Path, odd: Sequence[Sequence[int]], slow: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the report of one test for each list of slow hosts, all in one set of processes, a rank on each host."""
    everyone = range(len(bed.machines))
    job = bed.ranks(str(JOBS / "trials.py"), str(len(odd)), str(SIZE), str(slow), cwd=folder)
    were: set[int] = set()
    for trial, hosts in enumerate(odd):
        job.until(lambda at=trial: len(list(folder.glob(f"trial{at}-[0-9]*"))) == len(everyone), 120)  # type: ignore[misc]
        for host in were ^ set(hosts):
            bed.slow(host, SLOW if host in hosts else FAST)
        were = set(hosts)
        (folder / f"trial{trial}--go").touch()
        path = folder / f"report{trial}.json"
        job.until(path.exists)
        yield json.loads(path.read_text(encoding="utf-8"))
    assert {result.code for result in job.wait()} == {0}


def named(report: dict[str, Any]) -> dict[str, list[int]]:
    """Return the hosts that each kind of finding names."""
    kinds: dict[str, list[int]] = {}
    for finding in report["findings"]:
        kinds[finding["kind"]] = sorted({*kinds.get(finding["kind"], []), *finding["hosts"]})
    return kinds
